// Requests to the stack, as the personas send them.

// How many are under way at once.
const WIDTH = 8

/** Answers are {status, body, text, code, message, affected}; `code` is our error code or PostgreSQL's. */
export class Api {
  constructor(url, anonKey) {
    Object.assign(this, { url, anonKey, asked: 0, deadlocks: 0 })
  }

  /** @returns {Promise<string>} an access token of the stack's auth service */
  async signIn(email, password) {
    const path = '/auth/v1/token?grant_type=password'
    const answer = await this.send(this.anonKey, 'POST', path, { body: { email, password } })
    if (answer.status !== 200) throw new Error(`${email} cannot sign in: ${JSON.stringify(answer)}`)
    return answer.body.access_token
  }

  /**
   * A request to a table or function; whatever it writes is rolled back.
   * @param {string} name schema.table, or schema.function with `call`
   */
  async ask(token, method, name, { query = '', body, call = false, returning = 'representation' } = {}) {
    const [schema, object] = name.split('.')
    const path = `/rest/v1/${call ? 'rpc/' : ''}${object}${query && `?${query}`}`
    const headers = { 'accept-profile': schema, 'content-profile': schema, prefer: `tx=rollback,return=${returning}` }
    let answer = await this.send(token, method, path, { body, headers })
    this.asked++
    // Cells that are walked at once change the same rows; that two of them stand in each other's way says nothing about either.
    for (let again = 0; answer.code === '40P01' && again < 5; again++) {
      this.deadlocks++
      answer = await this.send(token, method, path, { body, headers })
    }
    // Without it, one cell would change what the next one finds.
    if (answer.status < 300 && !answer.applied?.includes('tx=rollback')) {
      throw new Error(`${method} ${path} was not rolled back: the sandbox was not started with --rollback.`)
    }
    return answer
  }

  async send(token, method, path, { body, headers = {} } = {}) {
    const identity = { apikey: this.anonKey, authorization: `Bearer ${token}` }
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { ...identity, 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body)
    })
    const text = await response.text()
    return {
      status: response.status,
      applied: response.headers.get('preference-applied'),
      affected: rowsIn(response.headers.get('content-range')),
      ...decode(text)
    }
  }
}

/** How many rows a range such as 0-4/* spans. */
function rowsIn(range) {
  const [, first, last] = /^(\d+)-(\d+)\//.exec(range ?? '') ?? []
  return first === undefined ? 0 : last - first + 1
}

function decode(text) {
  try {
    const body = text === '' ? null : JSON.parse(text)
    return { text, body, code: body?.code ?? null, message: body?.message ?? null }
  } catch {
    return { text, body: text, code: null, message: text }
  }
}

/** Runs `work` for every item, some at a time; returns the results in the items' order. */
export async function inParallel(items, work) {
  const list = [...items]
  const results = new Array(list.length)
  let next = 0
  await Promise.all(Array.from({ length: WIDTH }, async () => {
    while (next < list.length) {
      const place = next++
      results[place] = await work(list[place])
    }
  }))
  return results
}
