// The world that the matrix is walked in: a sandbox with world/*.sql in it, and somebody signed in for each persona.

import { execFile } from 'node:child_process'
import { createHash, createHmac } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startSandbox } from '../client/sandbox.mjs'
import { Api } from './http.mjs'

const PASSWORD = 'lyceum-matrix'
const EXPOSED = "('public', 'lms', 'content', 'media', 'billing', 'analytics')"
const HELD = "('public', 'lms', 'content', 'media', 'billing', 'analytics', 'private', 'audit', 'ops', 'auth', 'storage')"
const run = promisify(execFile)

/**
 * Starts a sandbox in which requests can be rolled back, fills it, and signs everybody in.
 * @param {string[]} personas names; all but `anonymous` are people of the world
 */
export async function openWorld(personas) {
  const sandbox = await startSandbox({ rollback: true })
  const psql = async (...more) => (await run(
    'psql', ['-qXAt', '-v', 'ON_ERROR_STOP=1', '-d', sandbox.DB_URL, ...more], { maxBuffer: 1 << 28 }
  )).stdout
  try {
    await psql('-1', ...worldFiles().flatMap((file) => ['-f', file]))
    const lines = (await psql('-F', ' ', '-c', 'select name, id from world.names')).trim().split('\n')
    const names = new Map(lines.map((line) => line.split(' ')))
    const api = new Api(sandbox.API_URL, sandbox.ANON_KEY)
    const tokens = await Promise.all(personas.map(async (persona) => {
      if (persona === 'anonymous') return [persona, sandbox.ANON_KEY]
      const email = `canary-email-${persona.replaceAll('_', '-')}@example.test`
      return [persona, resigned(await api.signIn(email, PASSWORD), sandbox.JWT_SECRET)]
    }))
    return new World(sandbox, psql, names, api, new Map(tokens))
  } catch (error) {
    await sandbox.stop()
    throw error
  }
}

function worldFiles() {
  const folder = fileURLToPath(new URL('./world/', import.meta.url))
  return readdirSync(folder).sort().map((name) => `${folder}${name}`)
}

class World {
  constructor(sandbox, psql, names, api, tokens) {
    Object.assign(this, { sandbox, psql, names, api, tokens })
    this.byId = new Map([...names].map(([name, id]) => [id, name]))
  }

  stop() {
    return this.sandbox.stop()
  }

  /** The rows of a query, asked past all policies. */
  async rows(query) {
    return JSON.parse(await this.psql('-c', `select coalesce(json_agg(q), '[]') from (${query}) q`))
  }

  /**
   * Replaces names: $courses.draft is an id of the world, $me the persona's own, $memberships.me the row of theirs,
   * $random belongs to nothing.
   */
  resolve(value, persona) {
    if (Array.isArray(value)) return value.map((part) => this.resolve(part, persona))
    if (value !== null && typeof value === 'object') {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, this.resolve(part, persona)]))
    }
    if (typeof value !== 'string' || !/^\$[a-z]/.test(value)) return value
    const name = value.slice(1)
    if (name === 'random') return '99999999-9999-4999-8999-999999999999'
    // Somebody who has no such row gets an id that nothing has.
    if (name === 'me') return this.names.get(`people.${persona}`) ?? idOf(`people.${persona}`)
    if (name.endsWith('.me')) return this.names.get(name.replace(/me$/, persona)) ?? idOf(name.replace(/me$/, persona))
    if (!this.names.has(name)) throw new Error(`There is no ${name} in tests/access/world.`)
    return this.names.get(name)
  }

  /** A row's key in words, as far as the world has names for it. */
  nameOf(key) {
    return Object.entries(key).map(([column, value]) => `${column} ${this.byId.get(value) ?? value}`).join(', ')
  }

  /** Exposed tables and views: name, columns, primary key. */
  relations() {
    return this.rows(`
      select
        format('%I.%I', n.nspname, c.relname) as name,
        array(
          select a.attname
          from pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          order by a.attnum
        ) as columns,
        array(
          select a.attname
          from pg_index i
          join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
          where i.indrelid = c.oid and i.indisprimary
          order by a.attnum
        ) as key
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ${EXPOSED} and c.relkind in ('r', 'p', 'v', 'm', 'f')
      order by 1`)
  }

  /** The ids of what belongs to `abroad` and of those who belong nowhere else: of it, home must see nothing. */
  async foreign() {
    const tables = await this.rows(`
      select c.oid::regclass::text as name
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute i on i.attrelid = c.oid and i.attname = 'id' and i.atttypid = 'uuid'::regtype
      join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id'
      where n.nspname in ${EXPOSED} and c.relkind in ('r', 'p') and not c.relispartition`)
    const rows = await this.rows([
      "select world.the('tenants.abroad') as id",
      "select world.the('people.' || name) from world.people where tenant = 'abroad'",
      ...tables.map(({ name }) => `select id from ${name} where tenant_id = world.the('tenants.abroad')`)
    ].join(' union all '))
    return new Set(rows.map(({ id }) => id))
  }

  /** Every row of every table in the database that is ours, as one text. */
  async everything() {
    const rows = await this.rows(`
      select table_to_xml(c.oid, true, true, '')::text as content
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ${HELD} and c.relkind = 'r'`)
    return rows.map(({ content }) => content).join('\n')
  }

  /** Exposed functions: name, parameters and their types, whether they only read, and which roles may execute them. */
  functions() {
    return this.rows(`
      select
        format('%I.%I', n.nspname, p.proname) as name,
        coalesce(p.proargnames[1:p.pronargs], '{}') as parameters,
        array(
          select format_type(a.type, null)
          from unnest(p.proargtypes) with ordinality as a (type, place)
          order by a.place
        ) as types,
        p.pronargs - p.pronargdefaults as required,
        p.provolatile <> 'v' as reads,
        array(
          select r.name
          from (values ('anon'), ('authenticated')) as r (name)
          where has_function_privilege(r.name, p.oid, 'execute')
        ) as execute
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
      where n.nspname in ${EXPOSED} and p.prorettype <> 'trigger'::regtype
      order by 1`)
  }
}

/**
 * The same claims under the project's legacy secret, which PostgREST takes as well: checking ES256 takes it longer than
 * all else that it does for a request.
 */
function resigned(token, secret) {
  const [, claims] = token.split('.')
  const content = `${Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')}.${claims}`
  return `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`
}

function idOf(name) {
  const hash = createHash('md5').update(name).digest('hex')
  return hash.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
