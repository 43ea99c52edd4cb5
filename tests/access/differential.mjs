// No function shows what REST hides: every id and every canary in a function's answer, errors as well, is also found in
// what the same persona can read from the exposed tables and views. Functions that write are asked with the cases of
// rpc/*.yaml and rolled back; ids that they have just made up are nobody's secret.

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

  const exists = marks(await world.everything())

  const calls = []
  for (const { name, parameters, required, reads, execute } of functions) {
    const call = matrix.calls.get(name)
    if (!call) continue
    // Who may execute it is a cell of the walk over functions.
    const callers = personas.filter((who) => who !== 'anonymous' || execute.includes('anon'))
    const about = { name, reads, alone: call.alone, exempt: call.exempt }
    const asked = parameters.filter((parameter) => matrix.values[parameter])
    const bodies = [
      ...Object.values(call.cases).map((one) => one.parameters),
      ...(reads ? product(asked.map((parameter) => matrix.values[parameter].map((value) => [parameter, value]))) : [])
        .map((pairs) => Object.fromEntries(pairs))
    ]
    const unknown = parameters.slice(0, required).filter((parameter) => !matrix.values[parameter])
    if (reads && unknown.length > 0 && call.exempt?.personas !== 'all') {
      deviations.push(`${name}: nothing to ask it with; add ${unknown} to tests/access/values.yaml.`)
    }
    for (const persona of callers) {
      calls.push(...bodies.map((body) => ({ ...about, persona, body: world.resolve(body, persona) })))
    }
  }

  let compared = 0
  const shown = new Set()
  const unused = new Set([...matrix.calls.values()].flatMap(({ name, exempt }) =>
    exempt === null ? [] : exempt.personas === 'all' ? [name] : exempt.personas.map((persona) => `${name} ${persona}`)))
  const compare = async ({ name, persona, body, reads, exempt }) => {
    const answer = await world.api.ask(world.tokens.get(persona), 'POST', name, { call: true, body })
    const found = marks(answer.text)
    // What was asked for may be named in the answer.
    const known = marks(JSON.stringify(body))
    compared += found.size
    for (const mark of found) {
      if (visible.get(persona).has(mark) || known.has(mark) || (!reads && !exists.has(mark))) continue
      const isExempt = exempt !== null && (exempt.personas === 'all' || exempt.personas.includes(persona))
      if (isExempt) unused.delete(exempt.personas === 'all' ? name : `${name} ${persona}`)
      else shown.add(`${name} shows ${persona} ${world.byId.get(mark) ?? mark}, which REST hides from them.`)
    }
  }
  await inParallel(calls.filter(({ alone }) => !alone), compare)
  for (const call of calls.filter(({ alone }) => alone)) await compare(call)
  for (const what of unused) {
    deviations.push(`${what} is exempt and shows nothing that REST hides: take it out of 'exempt' in tests/access/rpc.`)
  }
  return { calls: calls.length, marks: compared, deviations: [...deviations, ...shown] }
}

function product(lists) {
  return lists.reduce((rows, list) => rows.flatMap((row) => list.map((value) => [...row, value])), [[]])
}
