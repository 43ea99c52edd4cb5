// Breaks one rule of the database at a time (mutants.sql) and runs the pgTAP files until one fails. A mutant that no file
// notices survives: either a test is missing, or the rule is held twice; explained.json says which, and why.
//
//   make mutants                      all of them
//   make mutants ONLY='policy lms.'   those whose description contains the text
//
// Runs inside `lyceum with-database --content pgtap`, which provides the database that the workers copy.

import { execFile, spawn } from 'node:child_process'
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const here = dirname(fileURLToPath(import.meta.url))
const tests = join(here, '../../supabase/tests/database')
const source = new URL(process.env.ADMIN_DB_URL)
const origin = source.pathname.slice(1)
const only = process.env.ONLY ?? ''

const urlOf = (database, role) => {
  const url = new URL(role === 'admin' ? process.env.ADMIN_DB_URL : process.env.DB_URL)
  url.pathname = `/${database}`
  return url.href
}

async function psql(url, args) {
  try {
    const { stdout } = await run('psql', ['-X', '-q', '-A', '-t', '-d', url, ...args], { maxBuffer: 1 << 26 })
    return { ok: true, output: stdout }
  } catch (error) {
    return { ok: false, output: `${error.stdout ?? ''}${error.stderr ?? error.message}` }
  }
}

// Runs a test file and ends it at the first test that fails.
function passes(url, args) {
  return new Promise((resolve) => {
    const child = spawn('psql', ['-X', '-q', '-A', '-t', '-d', url, ...args])
    let output = ''
    // It may have ended by itself, content, before it is killed.
    let failed = false
    const read = (chunk) => {
      output += chunk
      failed ||= /^\s*not ok|^# Looks like|^psql:.*ERROR/m.test(output)
      if (failed) child.kill()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.on('close', (code) => resolve(!failed && code === 0 && /^\s*1\.\.\d+/m.test(output)))
  })
}

// Files that mention the object often and take little time come first; the file that compares exact lists of rights comes
// last, so that what is counted as noticed is noticed by its effect where possible.
function inOrder(files, mutant) {
  const words = mutant.about.split('(')[0].split('.').pop()
  // Rights are compared with exact lists, and walked over HTTP by the access matrix: the lists are quickest.
  const listed = mutant.kind === 'grant' || mutant.kind === 'function'
  const score = ({ name, text }) => (name.startsWith('08-') ? (listed ? Infinity : -1) : (text.split(words).length - 0.9) / (seconds[name] ?? 1))
  return [...files].sort((a, b) => score(b) - score(a))
}

// Every file is one transaction that is rolled back; the mutation goes into it, so that nothing of it stays.
async function attempt(mutant, files, database) {
  const url = urlOf(database, 'postgres')
  const applied = await psql(url, ['-v', 'ON_ERROR_STOP=1', '-c', 'begin', '-c', mutant.statement, '-c', 'rollback'])
  if (!applied.ok) return { ...mutant, by: null, note: `cannot be applied: ${applied.output.trim()}` }
  for (const file of inOrder(files, mutant)) {
    // Sequences are not rolled back, and one file counts on the first entries of the audit log.
    const prepared = ['begin', mutant.statement, 'alter sequence if exists audit.log_id_seq restart'].flatMap((sql) => ['-c', sql])
    const began = performance.now()
    const passed = await passes(url, ['-v', 'ON_ERROR_STOP=1', ...prepared, '-f', join(tests, file.name)])
    seconds[file.name] ??= (performance.now() - began) / 1000
    if (!passed) return { ...mutant, by: file.name }
  }
  return { ...mutant, by: null }
}

async function copy(database) {
  const copied = await psql(urlOf('postgres', 'admin'), ['-c', `create database "${database}" template "${origin}" owner postgres`])
  if (!copied.ok) throw new Error(copied.output)
}

const remove = (database) => psql(urlOf('postgres', 'admin'), ['-c', `drop database if exists "${database}" with (force)`])

const files = await Promise.all(
  (await readdir(tests)).filter((name) => name.endsWith('.sql')).sort()
    .map(async (name) => ({ name, text: await readFile(join(tests, name), 'utf8') })),
)
const explained = JSON.parse(await readFile(join(here, 'explained.json'), 'utf8'))
const listed = await psql(process.env.DB_URL, ['-F', '\t', '-f', join(here, 'mutants.sql')])
if (!listed.ok) throw new Error(listed.output)
const mutants = listed.output.trim().split('\n')
  .map((line) => line.split('\t'))
  .map(([kind, about, change, statement]) => ({ kind, about, change, statement, name: `${kind} ${about}: ${change.trim()}` }))
  .filter(({ name }) => name.includes(only))

// How long each file takes, from its first run.
const seconds = {}

// What fails without any mutation would make every mutant look noticed.
const workers = Array.from({ length: Number(process.env.JOBS ?? cpus().length) }, (_, number) => `${origin}_${number}`)
for (const worker of workers) await copy(worker)
const sane = await attempt({ about: 'lms.courses', statement: 'select 1' }, files, workers[0])
if (sane.by) throw new Error(`${sane.by} fails on the unchanged database; mend it first`)

const queue = [...mutants]
const results = []
async function work(database) {
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
    const result = await attempt(mutant, files, database)
    results.push(result)
    if (!result.by && !explained[result.name]) console.log(`survives: ${result.name}${result.note ? ` (${result.note})` : ''}`)
    if (process.stderr.isTTY) process.stderr.write(`\r${results.length} of ${mutants.length}`)
    else if (results.length % 50 === 0) console.error(`${results.length} of ${mutants.length}`)
  }
  await remove(database)
}
await Promise.all(workers.map(work))
if (process.stderr.isTTY) process.stderr.write('\n')

const survivors = results.filter(({ by }) => !by)
const unexplained = survivors.filter(({ name }) => !explained[name])
const stale = only ? [] : Object.keys(explained).filter((name) => !survivors.some((survivor) => survivor.name === name))
const byLists = results.filter(({ by }) => by?.startsWith('08-')).length

console.log(`${results.length} mutants: ${results.length - survivors.length} noticed `
  + `(${byLists} of them only by the exact lists of rights), ${survivors.length - unexplained.length} explained, `
  + `${unexplained.length} survive`)
for (const name of stale) console.log(`  explained, but noticed or gone: ${name}`)
await mkdir(join(here, '../../.lyceum'), { recursive: true })
await writeFile(join(here, '../../.lyceum/mutants.json'), JSON.stringify(results, null, 1))
process.exitCode = unexplained.length + stale.length > 0 ? 1 : 0
