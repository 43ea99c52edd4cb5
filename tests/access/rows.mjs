// The walk over rows: every table x persona x verb x kind of row is a request of its own.

import { inParallel } from './http.mjs'

// Rows of one kind that one request asks for: their keys have to fit into its address.
const AT_ONCE = 20
// Rows of one kind that are changed and removed, each by a request of its own, where that is allowed.
const CHANGED = 2

/**
 * The facts that the walk compares with: for each table and persona, which rows there are and of which kind they are.
 * @returns {Promise<Map<string, {key: string[], rows: object[]}>>} rows: {persona, kind or null, key, row}
 */
export async function classify(world, matrix, relations) {
  const known = relations.filter((relation) => matrix.tables.has(relation.name))
  return new Map(await inParallel(known, async (relation) => {
    const table = matrix.tables.get(relation.name)
    const key = table.key ?? relation.key
    const me = Object.keys(matrix.personas).map((persona) => `('${persona}', '${world.resolve('$me', persona)}'::uuid)`)
    const kinds = Object.entries(table.rows).map(([kind, predicate]) => `when ${predicate} then '${kind}'`)
    const rows = await world.rows(`
      select
        me.name as persona,
        ${kinds.length > 0 ? `case ${kinds.join('\n')} end` : 'null::text'} as kind,
        jsonb_build_object(${key.map((column) => `'${column}', t.${column}`).join(', ')}) as key,
        to_jsonb(t) as row
      from ${relation.name} t
      cross join (values ${me.join(', ')}) as me (name, id)
      order by ${key.map((column) => `t.${column}`).join(', ')}`)
    return [relation.name, { key, rows }]
  }))
}

/**
 * The cells of one table.
 * @returns {{cells: object[], deviations: string[]}} what to ask, and what is wrong with the questions
 */
export function rowCells(world, matrix, table, facts) {
  const cells = []
  const deviations = []
  for (const persona of Object.keys(matrix.personas)) {
    const mine = facts.rows.filter((fact) => fact.persona === persona)
    const about = { table, persona, facts }
    for (const { key } of mine.filter((fact) => fact.kind === null)) {
      const row = world.nameOf(key)
      deviations.push(`${table.name}: ${row} is of no kind for ${persona}; add one to 'rows' in ${table.file}.`)
    }
    for (const kind of Object.keys(table.rows)) {
      const rows = mine.filter((fact) => fact.kind === kind)
      for (const verb of ['select', 'update', 'delete']) {
        const expected = table.access[persona][verb]?.get(kind) ?? 'refused'
        if (rows.length === 0 && expected !== 'refused') {
          deviations.push(`${table.name}: ${persona} has no row '${kind}' to ${verb}; add one to tests/access/world.`)
        }
        cells.push(...kindCells(world, { ...about, verb, kind, expected }, rows))
      }
    }
    cells.push(...wholeCells(about, mine), ...insertCells(world, about))
  }
  for (const [what, { persona, set, answer = 'refused' }] of Object.entries(table.moves)) {
    cells.push({ table, persona, facts, verb: 'update', kind: what, expected: answer, rows: [], unfiltered: true, set })
  }
  for (const kind of Object.keys(table.rows).filter((name) => !facts.rows.some((fact) => fact.kind === name))) {
    deviations.push(`${table.file}: ${table.name}: the world has no row '${kind}'; add one to tests/access/world.`)
  }
  return { cells, deviations }
}

function kindCells(world, about, rows) {
  // What is refused is refused for all of them; what is allowed is tried one by one, for one may fail and another not.
  if (about.verb === 'select' || about.expected === 'refused') {
    return chunks(rows, AT_ONCE).map((some) => ({ ...about, rows: some }))
  }
  return rows.length === 0 ? [] : toChange(world, about, rows).map((row) => ({ ...about, rows: [row] }))
}

/** Without a filter: nothing but what the persona may read, and no row that the facts do not have. */
function wholeCells(about, mine) {
  const access = about.table.access[about.persona]
  const readable = mine.filter((fact) => access.select?.has(fact.kind))
  const whole = { ...about, kind: 'all', rows: readable, unfiltered: true }
  // A change that names no column to filter by or return is not held back by what may be read.
  const changes = ['update', 'delete'].filter((verb) => verb === 'delete' || about.table.update)
  const isAllowed = (verb) => [...(access[verb] ?? new Map())].some(([, expected]) => expected === 'allowed')
  return [
    { ...whole, verb: 'select', expected: readable.length > 0 ? 'allowed' : 'refused' },
    ...changes.map((verb) => ({ ...whole, verb, expected: isAllowed(verb) ? 'at most what is readable' : 'refused' }))
  ]
}

function insertCells(world, about) {
  const { insert, access } = about.table
  // Where nobody may insert there is nothing to say about what; an empty row is refused like any other.
  return Object.entries(Object.keys(insert).length > 0 ? insert : { anything: {} }).map(([kind, payload]) => ({
    ...about, verb: 'insert', kind, rows: [],
    expected: access[about.persona].insert?.get(kind) ?? 'refused',
    payload: world.resolve(payload, about.persona)
  }))
}

function toChange(world, { table, persona, verb, kind }, rows) {
  const chosen = table.on[verb]?.[kind]
  if (chosen === undefined) return rows.slice(0, CHANGED)
  const key = world.resolve(chosen, persona)
  const found = rows.filter((fact) => Object.entries(key).every(([column, value]) => fact.key[column] === value))
  if (found.length !== 1) {
    throw new Error(`${table.file}: ${table.name}: 'on ${verb} ${kind}' names no row of that kind for ${persona}.`)
  }
  return found
}

/** Asks for one cell. @returns {Promise<string|null>} a sentence about the deviation, or null */
export async function tryCell(world, cell) {
  const { table, persona, verb, kind, expected, rows } = cell
  const answer = await request(world, cell)
  const isWhole = verb === 'select' || cell.unfiltered || rows.length < 2
  if (expected === 'refused' && !isWhole && !isEmpty(answer) && !isWithoutGrant(answer)) {
    // One row's error says nothing about the others.
    const faults = await Promise.all(rows.map((row) => tryCell(world, { ...cell, rows: [row] })))
    return faults.filter(Boolean).join('\n  ') || null
  }
  const fault = judge(cell, answer)
  if (fault === null) return null
  const where = rows.length === 1 ? ` (${world.nameOf(rows[0].key)})` : ''
  return `${table.name}: ${persona} ${verb} ${kind}${where}: expected ${expected}, ${fault}`
}

function isEmpty(answer) {
  return answer.status < 300 && answer.status !== 201 && answer.affected === 0 && (answer.body ?? []).length === 0
}

/** No row is reached for want of a right on the table or column. */
export function isWithoutGrant(answer) {
  return answer.code === '42501' && /^permission denied for /.test(answer.message)
}

async function request(world, { table, persona, verb, kind, expected, rows, payload, facts, unfiltered, set }) {
  const token = world.tokens.get(persona)
  const columns = `select=${facts.key.join(',')}`
  if (verb === 'select' && unfiltered) return all(world, token, table.name, facts.key)
  // Where no column is granted there is no harmless change; writing the key as it is needs a right as well.
  const change = () => world.resolve(set ?? table.updates[kind] ?? table.update ?? rows[0].key, persona)
  const body = verb === 'update' ? change() : payload
  const method = { select: 'GET', insert: 'POST', update: 'PATCH', delete: 'DELETE' }[verb]
  // What is asked to be returned must be readable as well, and would hide that it was written.
  if (unfiltered || (verb === 'insert' && expected === 'refused')) {
    return world.api.ask(token, method, table.name, { body, returning: 'minimal' })
  }
  const query = verb === 'insert' ? columns : `${columns}&${filterFor(facts.key, rows)}`
  return world.api.ask(token, method, table.name, { query, body })
}

/** Every page of a table, as one answer. */
export async function all(world, token, name, key = null) {
  const body = []
  const order = key ? `select=${key.join(',')}&order=${key.join(',')}` : 'select=*'
  for (;;) {
    const answer = await world.api.ask(token, 'GET', name, { query: `${order}&limit=1000&offset=${body.length}` })
    if (answer.status !== 200) return answer
    body.push(...answer.body)
    if (answer.body.length < 1000) return { ...answer, body }
  }
}

function filterFor(key, rows) {
  const value = (fact, column) => encodeURIComponent(`"${fact.key[column]}"`)
  if (key.length === 1) return `${key[0]}=in.(${rows.map((fact) => value(fact, key[0])).join(',')})`
  const terms = rows.map((fact) => `and(${key.map((column) => `${column}.eq.${value(fact, column)}`).join(',')})`)
  return `or=(${terms.join(',')})`
}

function judge({ verb, expected, rows }, answer) {
  const got = Array.isArray(answer.body) || answer.body === null
    ? `${answer.status} with ${answer.body?.length ?? answer.affected} rows`
    : `${answer.status} ${answer.code ?? ''} ${answer.message ?? ''}`.trim()
  if (answer.status >= 500) return `got ${got}`
  if (expected === 'at most what is readable') {
    return answer.affected <= rows.length ? null : `reached ${answer.affected} rows, and ${rows.length} are readable`
  }
  if (expected === 'refused') {
    return isEmpty(answer) || [401, 403, 404].includes(answer.status) ? null : `got ${got}`
  }
  if (expected !== 'allowed') return `${answer.status} ${answer.code}` === expected ? null : `got ${got}`
  if (answer.status >= 300 || !Array.isArray(answer.body)) return `got ${got}`
  if (verb === 'insert') return answer.body.length === 1 ? null : `got ${got}`
  const columns = Object.keys(rows[0].key)
  const keyOf = (row) => JSON.stringify(columns.map((column) => row[column]))
  const wanted = rows.map((fact) => keyOf(fact.key))
  const found = answer.body.map(keyOf)
  const missing = wanted.filter((key) => !found.includes(key))
  const surplus = found.filter((key) => !wanted.includes(key))
  if (missing.length === 0 && surplus.length === 0) return null
  return `got ${got}${missing.length > 0 ? `; missing ${missing.slice(0, 3).join(' ')}` : ''}`
    + (surplus.length > 0 ? `; not expected ${surplus.slice(0, 3).join(' ')}` : '')
}

function chunks(list, size) {
  const starts = list.map((_, place) => place).filter((place) => place % size === 0)
  return starts.map((start) => list.slice(start, start + size))
}
