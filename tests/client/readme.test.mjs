// The README's first session, run as pasted.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { startSandbox } from './sandbox.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
let stack
before(async () => { stack = await startSandbox({ seed: true }) })
after(() => stack.stop())

test('the README\'s session prints what the README says, also when it is pasted twice', async () => {
  const readme = await readFile(`${root}README.md`, 'utf8')
  const [, session] = readme.match(/```js\n([\s\S]+?)```/)
  const [, promised] = readme.match(/```\n(Handling[\s\S]+?)```/)
  // Inside the checkout, where a newcomer would save it: that is how it finds supabase-js.
  const folder = await mkdtemp(`${root}tests/client/.session-`)
  try {
    await writeFile(`${folder}/session.mjs`, session)
    const run = () => promisify(execFile)(process.execPath, [`${folder}/session.mjs`], {
      env: { ...process.env, API_URL: stack.API_URL, ANON_KEY: stack.ANON_KEY },
    })
    const first = (await run()).stdout
    for (const line of promised.trim().split('\n').filter((line) => line !== '...')) {
      assert.ok(first.split('\n').includes(line), `${JSON.stringify(line)} is missing in:\n${first}`)
    }
    assert.equal((await run()).stdout, first)
  } finally {
    await rm(folder, { recursive: true })
  }
})
