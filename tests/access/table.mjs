// The matrix as tables for people to read: `node tests/access/table.mjs` writes them into docs/security.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { readMatrix, VERBS } from './matrix.mjs'

const BEGIN = '<!-- access matrix: begin -->'
const END = '<!-- access matrix: end -->'
const document = fileURLToPath(new URL('../../docs/security.md', import.meta.url))

// Two tables of a width that can be read: those who work in an organisation, and everybody else. Who administers
// another organisation does there what administrators do here.
const WITHIN = ['learner', 'instructor', 'unit_manager', 'hr_admin', 'tenant_admin', 'auditor']
const LEFT_OUT = ['outsider']
// Kinds that the walk needs and a reader does not.
const UNSAID = ['sister', 'foreign', 'foreign_public']

/** docs/security.md as it is, and as it should be. */
export function renderDocument(matrix) {
  const is = readFileSync(document, 'utf8')
  const [before, rest] = is.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new Error(`docs/security.md has no section between ${BEGIN} and ${END}.`)
  return { is, should: `${before}${BEGIN}\n${render(matrix)}${END}${after}` }
}

/** The tables in Markdown. */
export function render(matrix) {
  const personas = Object.entries(matrix.personas).filter(([persona]) => !LEFT_OUT.includes(persona))
  const others = personas.map(([persona]) => persona).filter((persona) => !WITHIN.includes(persona))
  const tables = [...grid(matrix, WITHIN), '', ...grid(matrix, others)]
  const isSaid = ([kind]) => !UNSAID.includes(kind) && tables.some((line) => line.includes(words(kind)))
  const kinds = Object.entries(matrix.kinds).filter(isSaid)
  return [
    ...tables, '',
    'Who they are:', '', ...list(personas), '',
    'Whose rows:', '', '* *all*: all that an administrator may', ...list(kinds), ''
  ].join('\n')
}

function grid(matrix, personas) {
  const line = (first, cells) => `| ${[first, ...cells].join(' | ')} |`
  return [
    line('table', personas.map(words)),
    line('---', personas.map(() => '---')),
    ...[...matrix.tables.values()].map((table) => line(table.name, personas.map((persona) => cell(table, persona))))
  ]
}

/** Such as `R own, unit; CU own`: verbs that reach the same kinds stand together. */
function cell(table, persona) {
  const byKinds = new Map()
  for (const [verb, letter] of Object.entries(VERBS)) {
    const kinds = reached(table, persona, verb)
    if (kinds.length === 0) continue
    const most = reached(table, 'tenant_admin', verb === 'insert' ? 'insert' : 'select')
    const said = most.length > 1 && most.every((kind) => kinds.includes(kind)) ? 'all' : kinds.map(words).join(', ')
    byKinds.set(said, `${byKinds.get(said) ?? ''}${letter}`)
  }
  return [...byKinds].map(([kinds, letters]) => `${letters} ${kinds}`).join('; ') || '-'
}

function reached(table, persona, verb) {
  return [...(table.access[persona][verb] ?? new Map())]
    .filter(([kind, expected]) => expected === 'allowed' && !UNSAID.includes(kind))
    .map(([kind]) => kind)
}

function list(entries) {
  return entries.map(([name, says]) => `* *${words(name)}*: ${says}`)
}

function words(name) {
  return name.replaceAll('_', ' ').replace(/bodys$/, "body's").replace(/^hr /, 'HR ')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(document, renderDocument(readMatrix()).should)
