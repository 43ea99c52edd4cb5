// The walk over functions: every function x persona x case is a request of its own.

/**
 * What the matrix and the database say differently about which functions there are and who may execute them, and
 * which of their ids the matrix does not try.
 * @param {Set<string>} foreign ids of another organisation
 * @returns {string[]}
 */
export function compareFunctions(world, matrix, functions, foreign) {
  const deviations = []
  const names = new Set(functions.map(({ name }) => name))
  for (const name of matrix.calls.keys()) {
    if (!names.has(name)) deviations.push(`${name} does not exist; take it out of tests/access/rpc.`)
  }
  for (const { name, execute } of functions) {
    const call = matrix.calls.get(name)
    if (!call) {
      deviations.push(`${name} is exposed and not in the matrix; add it to a file of tests/access/rpc.`)
    } else if ([...call.execute].sort().join() !== [...execute].sort().join()) {
      deviations.push(
        `${name}: may be executed by [${execute}]; 'execute' in tests/access/rpc says [${call.execute}].`
      )
    }
  }
  for (const { name, parameters, types } of functions.filter((one) => matrix.calls.has(one.name))) {
    const ids = parameters.filter((_, place) => types[place].startsWith('uuid'))
    const untried = untriedIds(world, matrix.calls.get(name), ids, foreign)
    deviations.push(...untried.map((what) => `${name}: no case asks for ${what}; add one to tests/access/rpc.`))
  }
  if (names.size < functions.length) {
    deviations.push('Two exposed functions share a name: neither the matrix nor PostgREST tells them apart well.')
  }
  return deviations
}

/** Each id is tried as one of another organisation and as one of nothing, while all else is the caller's. */
function untriedIds(world, call, ids, foreign) {
  const random = world.resolve('$random')
  const isForeign = (value) => [value].flat().some((id) => foreign.has(id))
  const isRandom = (value) => [value].flat().includes(random)
  const cases = Object.values(call.cases).map(({ parameters }) => world.resolve(parameters, 'tenant_admin'))
  const isTried = (id, test) => cases.some((given) =>
    test(given[id]) && ids.every((other) => other === id || !(isForeign(given[other]) || isRandom(given[other]))))
  return ids.flatMap((id) => [
    ...(isTried(id, isForeign) ? [] : [`another organisation's ${id} alone`]),
    ...(isTried(id, isRandom) ? [] : [`a random ${id} alone`])
  ])
}

/** The cells of all functions. `alone`: two such calls at the same time would get in each other's way, by design. */
export function callCells(world, matrix) {
  return [...matrix.calls.values()].flatMap(({ name, cases, alone }) => Object.entries(cases).flatMap(
    ([label, { parameters, answers }]) => Object.entries(answers).map(([persona, expected]) => ({
      name, label, persona, expected, alone, parameters: world.resolve(parameters, persona)
    }))
  ))
}

/** Asks for one cell. @returns {Promise<string|null>} a sentence about the deviation, or null */
export async function tryCall(world, { name, label, persona, expected, parameters }) {
  const answer = await world.api.ask(world.tokens.get(persona), 'POST', name, { call: true, body: parameters })
  const got = answer.status < 300 ? '200' : `${answer.status} ${answer.code}`
  if (got === expected) return null
  return `${name}: ${persona} ${label}: expected ${expected}, got ${got} ${answer.message ?? ''}`.trim()
}
