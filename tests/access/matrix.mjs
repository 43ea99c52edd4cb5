// Reads the matrix: who may do what, as data. Pure but for reading the files.
//
// roles.yaml      the personas, and what the kinds of rows are called
// values.yaml     what functions that only read are asked with
// rpc/*.yaml      every exposed function, by domain: who may execute it, and what it answers to whom
// *.yaml          every exposed table and view, by domain

import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const folder = fileURLToPath(new URL('./', import.meta.url))

/** The verbs of the matrix, with the letter that stands for each in columns and in the documentation. */
export const VERBS = { select: 'R', insert: 'C', update: 'U', delete: 'D' }

const TABLE_WORDS = ['about', 'key', 'columns', 'rows', 'insert', 'update', 'updates', 'moves', 'on', 'access']
const FUNCTION_WORDS = ['execute', 'cases', 'answers', 'alone', 'exempt']

/**
 * @typedef {object} Table
 * @property {string} name schema.table
 * @property {string} file where it is described
 * @property {string[]} [key] columns that identify a row, for views; tables have a primary key
 * @property {Record<string, {R: boolean, C: boolean, U: boolean}>} columns what clients may do with each
 * @property {Record<string, string>} rows kind of row -> SQL predicate over `t` (the row) and `me` (the persona)
 * @property {Record<string, object>} insert kind -> what is inserted
 * @property {object|null} update a harmless change of a granted column; null where none is granted
 * @property {Record<string, object>} updates kind -> another one, where that change would not do
 * @property {Record<string, {persona: string, set: object, answer?: string}>} moves changes of all that the persona
 *   may change which are refused, because they would take rows out of its reach or rights to where it has none
 * @property {Record<string, Record<string, object>>} on verb -> kind -> key of the row to try, where not any will do
 * @property {Record<string, Record<string, Map<string, string>>>} access
 *   persona -> verb -> kind -> 'allowed', or the refusal to expect ('409 builtin_role'); what is absent is refused
 */

/** The whole matrix. @throws {Error} naming file and line of reasoning when a file says something impossible. */
export function readMatrix() {
  const { personas, kinds } = read('roles.yaml')
  const values = read('values.yaml')
  const tables = new Map()
  for (const file of yamlFiles('').filter((name) => !['roles.yaml', 'values.yaml'].includes(name))) {
    for (const [name, description] of Object.entries(read(file))) {
      if (tables.has(name)) throw new Error(`tests/access/${file}: ${name} is described twice.`)
      tables.set(name, table(name, description, file, Object.keys(personas), kinds))
    }
  }
  const calls = new Map()
  for (const file of yamlFiles('rpc/')) {
    for (const [name, description] of Object.entries(read(file))) {
      if (calls.has(name)) throw new Error(`tests/access/${file}: ${name} is described twice.`)
      calls.set(name, call(name, description, file, Object.keys(personas)))
    }
  }
  return { personas, kinds, tables, calls, values }
}

function yamlFiles(inside) {
  const names = readdirSync(`${folder}${inside}`).filter((name) => name.endsWith('.yaml'))
  return names.sort().map((name) => `${inside}${name}`)
}

function read(file) {
  // Without aliases: `*` and `&` are no part of what the matrix says.
  return parse(readFileSync(`${folder}${file}`, 'utf8'), { uniqueKeys: true })
}

function table(name, description, file, personas, kinds) {
  const complain = (fault) => { throw new Error(`tests/access/${file}: ${name}: ${fault}`) }
  for (const word of Object.keys(description)) {
    if (!TABLE_WORDS.includes(word)) complain(`'${word}' is not one of ${TABLE_WORDS.join(', ')}.`)
  }
  const { key, columns = {}, rows = {}, access = {} } = description
  const { insert = {}, update = null, updates = {}, moves = {}, on = {} } = description
  for (const kind of [...Object.keys(rows), ...Object.keys(insert)]) {
    if (!kinds[kind]) complain(`the kind '${kind}' is not explained in roles.yaml.`)
  }
  for (const persona of personas.filter((name) => !(name in access))) {
    complain(`it says nothing of ${persona}; add a line to 'access'.`)
  }
  const granted = {}
  for (const [persona, verbs] of Object.entries(access)) {
    if (!personas.includes(persona)) complain(`'${persona}' is no persona of roles.yaml.`)
    granted[persona] = {}
    for (const [verb, list] of Object.entries(verbs ?? {})) {
      if (!(verb in VERBS)) complain(`'${verb}' of ${persona} is no verb (${Object.keys(VERBS).join(', ')}).`)
      const expectations = list.map((item) => typeof item === 'string' ? [item, 'allowed'] : Object.entries(item)[0])
      granted[persona][verb] = new Map(expectations)
      const section = verb === 'insert' ? 'insert' : 'rows'
      for (const [kind] of expectations) {
        if (kind in (description[section] ?? {})) continue
        complain(`${persona} may ${verb} '${kind}', which '${section}' lacks.`)
      }
    }
  }
  const letters = Object.fromEntries(Object.entries(columns).map(([column, may]) => {
    const words = (may ?? '').split(/\s+/).filter(Boolean)
    if (words.some((word) => !['R', 'C', 'U'].includes(word))) complain(`column ${column}: '${may}' is not of R, C, U.`)
    return [column, { R: words.includes('R'), C: words.includes('C'), U: words.includes('U') }]
  }))
  return { name, file, key, columns: letters, rows, insert, update, updates, moves, on, access: granted }
}

function call(name, description, file, personas) {
  const complain = (fault) => { throw new Error(`tests/access/${file}: ${name}: ${fault}`) }
  for (const word of Object.keys(description)) {
    if (!FUNCTION_WORDS.includes(word)) complain(`'${word}' is not one of ${FUNCTION_WORDS.join(', ')}.`)
  }
  const { execute = [], cases = {}, answers = {}, alone = false, exempt = null } = description
  const expected = {}
  for (const [label, parameters] of Object.entries(cases)) {
    if (!answers[label]) complain(`the case '${label}' has no answers.`)
    expected[label] = { parameters, answers: {} }
    // A function that a role may not execute answers like one that it may not see.
    if (!execute.includes('anon')) expected[label].answers.anonymous = '401 42501'
    let rest = null
    for (const [answer, who] of Object.entries(answers[label])) {
      if (who === 'rest') { rest = answer; continue }
      for (const persona of who) {
        if (!personas.includes(persona)) complain(`'${persona}' is no persona of roles.yaml.`)
        if (expected[label].answers[persona]) complain(`${label}: ${persona} gets two answers.`)
        expected[label].answers[persona] = answer
      }
    }
    for (const persona of personas) {
      expected[label].answers[persona] ??= rest ?? complain(`${label}: it says nothing of ${persona}.`)
    }
  }
  for (const label of Object.keys(answers)) if (!cases[label]) complain(`answers to '${label}', which is no case.`)
  return { name, execute, cases: expected, alone, exempt: exemption(exempt, personas, complain) }
}

/** Who may learn from a function what REST hides from them: everybody (a reason), or some ({personas, why}). */
function exemption(exempt, personas, complain) {
  if (exempt === null || typeof exempt === 'string') return exempt && { personas: 'all', why: exempt }
  const { personas: some, why, ...rest } = exempt
  if (!Array.isArray(some) || !why || Object.keys(rest).length > 0) complain("'exempt' is a reason, or {personas, why}.")
  for (const persona of some) if (!personas.includes(persona)) complain(`'${persona}' is no persona of roles.yaml.`)
  return exempt
}
