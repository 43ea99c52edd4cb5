// No function shows what REST hides: every id and every canary in the answer of a function that only reads is also
// found in what the same persona can read from the exposed tables and views.

import { inParallel } from './http.mjs'
import { all } from './rows.mjs'

const MARKS = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|canary[-_][a-z0-9_-]+|\+999[0-9]{6}/g

/** The ids and canaries in a text. */
export function marks(text) {
  return new Set(text.match(MARKS) ?? [])
}

/**
 * @returns {Promise<{calls: number, marks: number, deviations: string[]}>} how many calls and marks were compared
 */
export async function compareWithRest(world, matrix, relations, functions) {
  const deviations = []
  const personas = Object.keys(matrix.personas)
  const visible = new Map(await inParallel(personas, async (persona) => {
    const pages = []
    for (const { name } of relations) {
      const answer = await all(world, world.tokens.get(persona), name)
      pages.push(JSON.stringify(answer.body))
    }
    return [persona, marks(pages.join('\n'))]
  }))

  const calls = []
  for (const { name, parameters, required, reads, execute } of functions) {
    const call = matrix.calls.get(name)
    if (!reads || !call || call.exempt) continue
    const unknown = parameters.slice(0, required).filter((parameter) => !matrix.values[parameter])
    if (unknown.length > 0) {
      deviations.push(`${name}: nothing to ask it with; add ${unknown} to tests/access/values.yaml.`)
      continue
    }
    const asked = parameters.filter((parameter) => matrix.values[parameter])
    // Who may execute it is a cell of the walk over functions.
    for (const persona of personas.filter((who) => who !== 'anonymous' || execute.includes('anon'))) {
      for (const values of product(asked.map((parameter) => matrix.values[parameter]))) {
        const body = Object.fromEntries(asked.map((parameter, place) => [parameter, values[place]]))
        calls.push({ name, persona, body: world.resolve(body, persona) })
      }
    }
  }

  let compared = 0
  const shown = new Set()
  await inParallel(calls, async ({ name, persona, body }) => {
    const answer = await world.api.ask(world.tokens.get(persona), 'POST', name, { call: true, body })
    const found = marks(answer.text)
    // What was asked for may be named in the answer.
    const known = marks(JSON.stringify(body))
    compared += found.size
    for (const mark of found) {
      if (visible.get(persona).has(mark) || known.has(mark)) continue
      shown.add(`${name} shows ${persona} ${world.byId.get(mark) ?? mark}, which REST hides from them.`)
    }
  })
  return { calls: calls.length, marks: compared, deviations: [...deviations, ...shown] }
}

function product(lists) {
  return lists.reduce((rows, list) => rows.flatMap((row) => list.map((value) => [...row, value])), [[]])
}
