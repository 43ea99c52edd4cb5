// The walk over columns: each is read, inserted and updated by whoever may do most with the row.

import { isWithoutGrant } from './rows.mjs'

/**
 * The cells of one table's columns.
 * @returns {{cells: object[], deviations: string[]}}
 */
export function columnCells(world, table, relation, facts) {
  const deviations = []
  for (const column of relation.columns.filter((name) => !table.columns[name])) {
    deviations.push(`${table.name}.${column} is not in the matrix; add it to 'columns' in tests/access/${table.file}.`)
  }
  for (const column of Object.keys(table.columns).filter((name) => !relation.columns.includes(name))) {
    deviations.push(`${table.name}.${column} does not exist; take it out of 'columns' in tests/access/${table.file}.`)
  }
  const columns = relation.columns.filter((column) => table.columns[column])
  const cells = []
  for (const [verb, letter] of [['select', 'R'], ['insert', 'C'], ['update', 'U']]) {
    const granted = columns.filter((column) => table.columns[column][letter])
    const strongest = mostPowerful(table, verb)
    if (granted.length > 0 && strongest === null) {
      deviations.push(`${table.file}: ${table.name}: ${granted.join(', ')} say ${letter}, but nobody may ${verb} it.`)
      continue
    }
    if (strongest !== null && granted.length === 0) {
      const { persona } = strongest
      deviations.push(`${table.file}: ${table.name}: ${persona} may ${verb} it, but no column says ${letter}.`)
    }
    // Nobody may: an administrator is refused as well.
    const { persona, kind } = strongest ?? { persona: 'tenant_admin', kind: null }
    const isLike = (candidate) => kind === null || verb === 'insert' || candidate.kind === kind
    const fact = facts.rows.find((candidate) => candidate.persona === persona && isLike(candidate))
    const payload = verb === 'insert' && kind !== null ? world.resolve(table.insert[kind], persona) : {}
    for (const column of columns) {
      const expected = table.columns[column][letter]
      cells.push({ table, verb, column, persona, fact, payload, key: facts.key, expected })
    }
  }
  return { cells, deviations }
}

function mostPowerful(table, verb) {
  const kindsOf = (persona) => [...(table.access[persona][verb] ?? new Map())]
  const allowed = (persona) => kindsOf(persona).find(([, expected]) => expected === 'allowed')
  const persona = ['tenant_admin', ...Object.keys(table.access)].find(allowed)
  return persona ? { persona, kind: allowed(persona)[0] } : null
}

/** Asks for one column. @returns {Promise<string|null>} a sentence about the deviation, or null */
export async function tryColumn(world, { table, verb, column, persona, fact, payload, key, expected }) {
  const token = world.tokens.get(persona)
  const value = fact?.row[column] ?? null
  const filter = key.map((name) => `${name}=eq.${encodeURIComponent(fact?.key[name])}`).join('&')
  const returned = `select=${key.join(',')}`
  const answer = verb === 'select'
    ? await world.api.ask(token, 'GET', table.name, { query: `select=${column}&limit=1` })
    : verb === 'insert'
      ? await world.api.ask(token, 'POST', table.name, { query: returned, body: { [column]: value, ...payload } })
      // The value that it has: whether the column may be written does not depend on it.
      : await world.api.ask(token, 'PATCH', table.name, { query: `${returned}&${filter}`, body: { [column]: value } })
  // Generated columns, and computed ones of a view, are refused before rights are asked.
  const refused = ['428C9', '0A000'].includes(answer.code) || isWithoutGrant(answer)
  if (answer.status < 500 && refused === !expected) return null
  return `${table.name}.${column}: ${persona} ${verb}: expected ${expected ? 'allowed' : 'refused'}, `
    + `got ${answer.status} ${answer.code ?? ''} ${answer.message ?? ''}`.trim()
}
