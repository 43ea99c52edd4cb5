// The access matrix, walked over HTTP with real tokens. Every cell is a request of its own that leaves nothing behind.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { callCells, compareFunctions, tryCall } from './calls.mjs'
import { columnCells, tryColumn } from './columns.mjs'
import { compareWithRest } from './differential.mjs'
import { inParallel } from './http.mjs'
import { readMatrix } from './matrix.mjs'
import { classify, rowCells, tryCell } from './rows.mjs'
import { renderDocument } from './table.mjs'
import { openWorld } from './world.mjs'

const matrix = readMatrix()
let world
let relations
let functions
let facts
before(async () => {
  world = await openWorld(Object.keys(matrix.personas))
  relations = await world.relations()
  functions = await world.functions()
  facts = await classify(world, matrix, relations)
})
after(() => world?.stop())

/** Fails with all deviations at once, after saying how much was asked. */
function conclude(t, what, deviations) {
  t.diagnostic(what)
  if (deviations.length === 0) return
  assert.fail(`${deviations.length} deviations from the matrix:\n  ${deviations.join('\n  ')}`)
}

test('the matrix describes every exposed table and view, and no other', (t) => {
  const deviations = []
  for (const { name } of relations) {
    if (matrix.tables.has(name)) continue
    deviations.push(`${name} is exposed and not in the matrix; describe it in the .yaml of its domain in tests/access.`)
  }
  for (const { name, file } of matrix.tables.values()) {
    if (!facts.has(name)) deviations.push(`${name} does not exist; take it out of tests/access/${file}.`)
  }
  conclude(t, `${relations.length} tables and views`, deviations)
})

test('every built-in role walks the matrix', async (t) => {
  const roles = await world.rows('select key from private.builtin_roles')
  const deviations = roles.filter(({ key }) => !matrix.personas[key])
    .map(({ key }) => `The role ${key} is no persona; add it to roles.yaml and to the world.`)
  conclude(t, `${roles.length} built-in roles, ${Object.keys(matrix.personas).length} personas`, deviations)
})

test('every persona meets every kind of row as the matrix says', async (t) => {
  const walks = [...facts].map(([name, fact]) => rowCells(world, matrix, matrix.tables.get(name), fact))
  const cells = walks.flatMap((walk) => walk.cells)
  const outcomes = await inParallel(cells, (cell) => tryCell(world, cell))
  const deviations = [...walks.flatMap((walk) => walk.deviations), ...outcomes.filter(Boolean)]
  conclude(t, `${cells.length} cells of tables`, deviations)
})

test('every column is written by those whom the matrix lets', async (t) => {
  const walks = relations.filter(({ name }) => matrix.tables.has(name))
    .map((relation) => columnCells(world, matrix.tables.get(relation.name), relation, facts.get(relation.name)))
  const cells = walks.flatMap((walk) => walk.cells)
  const outcomes = await inParallel(cells, (cell) => tryColumn(world, cell))
  const deviations = [...walks.flatMap((walk) => walk.deviations), ...outcomes.filter(Boolean)]
  conclude(t, `${cells.length} cells of columns`, deviations)
})

test('exactly the functions of the matrix are exposed, to the roles that it names, with every id tried', async (t) => {
  conclude(t, `${functions.length} functions`, compareFunctions(world, matrix, functions, await world.foreign()))
})

test('every function answers every persona as the matrix says', async (t) => {
  const cells = callCells(world, matrix)
  const outcomes = await inParallel(cells.filter(({ alone }) => !alone), (cell) => tryCall(world, cell))
  for (const cell of cells.filter(({ alone }) => alone)) outcomes.push(await tryCall(world, cell))
  conclude(t, `${cells.length} cells of functions`, outcomes.filter(Boolean))
})

test('no function shows what REST hides', async (t) => {
  const { calls, marks, deviations } = await compareWithRest(world, matrix, relations, functions)
  assert.ok(marks > 0, 'nothing was compared')
  conclude(t, `${marks} ids and texts in the answers to ${calls} calls`, deviations)
})

test('requests seldom end in a deadlock, also when all cells are asked at once', (t) => {
  const { asked, deadlocks } = world.api
  t.diagnostic(`${deadlocks} deadlocks in ${asked} requests`)
  assert.ok(deadlocks <= asked / 100, `${deadlocks} of ${asked} requests ended in a deadlock: writes lock in different orders.`)
})

test('docs/security.md shows the matrix as it is', () => {
  const { is, should } = renderDocument(matrix)
  assert.ok(is === should, 'The tables in docs/security.md are out of date: run `make matrix`.')
})
