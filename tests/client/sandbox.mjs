// A throw-away stack for one test file: its own database, PostgREST, auth, storage, gateway and, if asked for,
// functions.
//
//   const sandbox = await startSandbox({ seed: true })
//   const client = sandbox.client()                       // supabase-js with the anon key
//   const admin = sandbox.client(sandbox.SERVICE_ROLE_KEY)
//   after(() => sandbox.stop())
//
// The object carries everything that `lyceum sandbox` prints: API_URL, FUNCTIONS_URL, DB_URL, ADMIN_DB_URL, ANON_KEY,
// SERVICE_ROLE_KEY, PUBLISHABLE_KEY, SECRET_KEY, JWT_SECRET, MAIL_DIR, STORAGE_DIR, LOG_DIR.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'
import ws from 'ws'

const root = fileURLToPath(new URL('../../', import.meta.url))
const program = process.env.LYCEUM_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${root}target`}/debug/lyceum`

// The first sandbox after a change of the migrations makes the template.
const PATIENCE_MS = 300_000

/**
 * Starts a sandbox and resolves when everything in it answers.
 * @param {{functions?: boolean, seed?: boolean, rollback?: boolean}} [options] functions: run the Lambda functions
 *   (default: no); seed: load the demo of supabase/seed.sql (default: no); rollback: leave nothing behind of requests
 *   that say `Prefer: tx=rollback` (default: no).
 */
export async function startSandbox({ functions = false, seed = false, rollback = false } = {}) {
  const chosen = { '--no-functions': !functions, '--seed': seed, '--rollback': rollback }
  const options = ['sandbox', ...Object.keys(chosen).filter((option) => chosen[option])]
  // It ends when its standard input closes, so it cannot outlive this process.
  const child = spawn(program, options, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (chunk) => { errors += chunk })
  const ended = new Promise((resolve) => child.on('close', (code) => resolve(code)))
  const addresses = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill()
      reject(new Error(`the sandbox was not ready after ${PATIENCE_MS / 1000} s\n${errors}`))
    }, PATIENCE_MS)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(new Error(`cannot start ${program}: ${error.message}. Build it: cargo build --bins`))
    })
    createInterface({ input: child.stdout }).once('line', (line) => {
      clearTimeout(timer)
      resolve(JSON.parse(line))
    })
    ended.then((code) => {
      clearTimeout(timer)
      reject(new Error(`the sandbox ended with code ${code}\n${errors}`))
    })
  })
  return {
    ...addresses,
    /** A supabase-js client of this sandbox that keeps its session in memory. */
    client(key = addresses.ANON_KEY, settings = {}) {
      return createClient(addresses.API_URL, key, {
        ...settings,
        auth: { persistSession: false, autoRefreshToken: false, ...settings.auth },
        // supabase-js wants a WebSocket at construction; Node 20 has none.
        realtime: { transport: ws },
      })
    },
    /** Ends the sandbox and drops its database. */
    async stop() {
      child.stdin.end()
      const code = await ended
      if (code !== 0) throw new Error(`the sandbox ended with code ${code}\n${errors}`)
    },
  }
}
