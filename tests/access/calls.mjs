// The walk over functions: every function x persona x case is a request of its own.

/**
 * What the matrix and the database say differently about which functions there are and who may execute them.
 * @returns {string[]}
 */
export function compareFunctions(matrix, functions) {
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
  if (names.size < functions.length) {
    deviations.push('Two exposed functions share a name: neither the matrix nor PostgREST tells them apart well.')
  }
  return deviations
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
