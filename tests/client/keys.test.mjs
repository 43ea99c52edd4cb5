// INV-A1: a string is planted in every part of every key, and everything that a learner can reach over HTTP is searched for it:
// tables and views, each embedded in each, calls, errors, the OpenAPI description, search and the audit trail.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
const SCHEMAS = ['public', 'lms', 'content', 'media', 'billing', 'analytics']
const CANARY = 'canary-of-a-key'

let stack
before(async () => { stack = await startSandbox({ seed: true }) })
after(() => stack.stop())

/** Somebody signed in. Everything that they are answered is kept, so that it can be searched. */
async function person(email) {
  const client = stack.client()
  const { data, error } = await client.auth.signInWithPassword({ email, password: 'lyceum-demo' })
  assert.equal(error, null)
  const heard = []
  const ask = async (method, path, { schema = 'lms', body, accept = 'application/json' } = {}) => {
    const answer = await fetch(`${stack.API_URL}/rest/v1/${path}`, {
      method,
      headers: {
        apikey: stack.ANON_KEY,
        authorization: `Bearer ${data.session.access_token}`,
        accept,
        'accept-profile': schema,
        'content-profile': schema,
        'content-type': 'application/json',
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await answer.text()
    heard.push({ what: `${method} ${schema} ${path} ${JSON.stringify(body ?? '')}`, text: `${[...answer.headers]}\n${text}` })
    return { status: answer.status, body: text === '' || accept.includes('plan') ? null : JSON.parse(text) }
  }
  const rpc = async (name, body) => {
    const answer = await ask('POST', `rpc/${name}`, { body })
    assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  return { ask, rpc, heard, found: () => heard.filter(({ text }) => text.includes(CANARY)).map(({ what }) => what) }
}

async function inParallel(items, work, width = 8) {
  const queue = [...items]
  await Promise.all(Array.from({ length: width }, async () => {
    while (queue.length > 0) await work(queue.shift())
  }))
}

test('no learner reaches a key before its time', { timeout: 300_000 }, async () => {
  const ines = await person('ines@ironworks.example')
  const lena = await person('lena@ironworks.example')

  // Every type that has a key, with the canary in it.
  const admin = stack.client(stack.SERVICE_ROLE_KEY).schema('lms')
  const ok = ({ data, error }) => { assert.equal(error, null, JSON.stringify(error)); return data }
  const author = async (table, row) => {
    const answer = await ines.ask('POST', `${table}`, { body: row })
    assert.equal(answer.status, 201, `${table}: ${JSON.stringify(answer.body)}`)
  }
  await author('courses', { tenant_id: IRONWORKS, slug: 'secrets', title: 'Secrets' })
  const course = ok(await admin.from('courses').select('id').eq('slug', 'secrets').single()).id
  await author('modules', { course_id: course, title: 'Only' })
  const module = ok(await admin.from('modules').select('id').eq('course_id', course).single()).id
  await author('lessons', { module_id: module, title: 'Only' })
  const lesson = ok(await admin.from('lessons').select('id').eq('course_id', course).single()).id
  await author('assessments', { course_id: course, key: 'exam', title: 'Exam', answers_shown: 'never' })
  const exam = ok(await admin.from('assessments').select('id').eq('course_id', course).single()).id
  const options = ['a', 'b'].map((id) => ({ id, text: `Option ${id}` }))
  const asked = [
    ['short_answer', {}, { accepted: [{ text: CANARY }] }, 'wrong'],
    ['single', { options }, { correct: 'b' }, 'a'],
    ['numeric', {}, { value: '42' }, '7'],
    ['essay', {}, { model_answer: CANARY, rubric: [{ id: 'r', criterion: CANARY, points: 1 }] }, { text: 'Long.' }],
  ]
  for (const [n, [type, content]] of asked.entries()) {
    await author('questions', { assessment_id: exam, question_key: `q${n}`, type, prompt: `Question ${n}`, content })
  }
  const questions = ok(await admin.from('questions').select('id').eq('assessment_id', exam).order('order_index')).map(({ id }) => id)
  for (const [n, [, , key]] of asked.entries()) {
    await ines.rpc('set_answer_key', { p_question_id: questions[n], p_key: key, p_explanation: `${CANARY} ${n}` })
  }
  await ines.rpc('publish_course', { p_course_id: course })

  const enrollment = (await lena.rpc('enroll', { p_course_id: course })).id
  const { id: attempt } = await lena.rpc('start_attempt', { p_assessment_id: exam })

  // Everything that there is to ask.
  const descriptions = {}
  for (const schema of SCHEMAS) {
    descriptions[schema] = (await lena.ask('GET', '', { schema, accept: 'application/openapi+json' })).body
  }
  const relations = SCHEMAS.flatMap((schema) => (
    Object.keys(descriptions[schema].paths).filter((path) => !path.startsWith('/rpc/') && path !== '/').map((path) => [schema, path.slice(1)])
  ))
  assert.ok(relations.length > 50, `${relations.length} tables and views`)
  const calls = SCHEMAS.flatMap((schema) => (
    Object.entries(descriptions[schema].paths).filter(([path]) => path.startsWith('/rpc/'))
      .map(([path, { post }]) => [schema, path.slice(1), post.parameters.find(({ name }) => name === 'args')?.schema?.properties ?? {}])
  ))
  assert.ok(calls.length > 60, `${calls.length} calls`)
  const values = {
    p_assessment_id: exam, p_attempt_id: attempt, p_course_id: course, p_enrollment_id: enrollment, p_lesson_id: lesson, p_query: 'canary',
    p_tenant_id: IRONWORKS, p_prefix: 'can', p_from: 1, p_key: { correct: 'a' }, p_reason: 'Because', p_percentage: 100, p_points: 1,
    p_answers: { [questions[1]]: 'nonsense', [questions[2]]: { value: CANARY.slice(0, 3) } }, p_explanation: '', p_feedback: '',
  }
  const walk = async ({ embedding = false } = {}) => {
    await inParallel(relations, async ([schema, name]) => {
      await lena.ask('GET', `${name}?select=*`, { schema })
      if (!embedding) return
      // An embedding that does not exist is an error; errors are searched, too.
      const parts = relations.filter(([other]) => other === schema).map(([, other]) => other)
      await inParallel(parts, (other) => lena.ask('GET', `${name}?select=*,${other}(*)&limit=50`, { schema }), 2)
    })
    await inParallel(calls, async ([schema, name, properties]) => {
      // Handing in ends what is being looked at, and is done below.
      if (['rpc/submit_attempt', 'rpc/leave_tenant', 'rpc/set_enrollment_status', 'rpc/change_enrollment'].includes(name)) return
      for (const question of name.includes('key') || 'p_question_id' in properties ? questions : [null]) {
        const body = Object.fromEntries(Object.keys(properties).filter((parameter) => parameter in values || parameter === 'p_question_id')
          .map((parameter) => [parameter, parameter === 'p_question_id' ? question : values[parameter]]))
        await lena.ask('POST', name, { schema, body })
      }
    })
    // What plans and writes that are refused would tell.
    await lena.ask('GET', 'question_revisions?select=*', { accept: 'application/vnd.pgrst.plan+json; options=analyze|verbose' })
    for (const table of ['answer_keys', 'key_revisions', 'attempt_keys']) {
      for (const schema of [...SCHEMAS, 'private', 'audit']) await lena.ask('GET', `${table}?select=*`, { schema })
    }
    await lena.ask('PATCH', `questions?assessment_id=eq.${exam}`, { body: { prompt: null } })
    await lena.ask('POST', 'questions', { body: { assessment_id: exam, question_key: 'q0', type: 'essay', prompt: 'Mine' } })
    await lena.ask('PATCH', `answer_scores?attempt_id=eq.${attempt}`, { body: { points: 9 } })
  }

  await walk()
  assert.deepEqual(lena.found(), [], 'while the attempt is open')
  const answers = Object.fromEntries(asked.map(([, , , response], n) => [questions[n], response]))
  const result = await lena.rpc('submit_attempt', { p_attempt_id: attempt, p_answers: answers })
  assert.equal(result.status, 'submitted')
  await walk()
  assert.deepEqual(lena.found(), [], 'once it is handed in')
  for (const [n] of asked.entries()) {
    if (n === 3) await ines.rpc('grade_answer', { p_attempt_id: attempt, p_question_id: questions[n], p_points: 1 })
  }
  await walk({ embedding: true })
  assert.deepEqual(lena.found(), [], 'once it is graded, where answers are never shown')
  const asking = lena.heard.length

  // The search finds what is there to be found: where it is shown, and with those who may read it.
  const shown = await ines.ask('PATCH', `assessments?id=eq.${exam}`, { body: { answers_shown: 'after_submit' } })
  assert.ok(shown.status < 300, JSON.stringify(shown.body))
  await lena.rpc('get_attempt_review', { p_attempt_id: attempt })
  assert.equal(lena.found().length, 1, 'the planted string is found once it is shown')
  ines.heard.length = 0
  await ines.rpc('get_answer_key', { p_question_id: questions[0] })
  assert.equal(ines.found().length, 1, 'and by its author')
  console.log(`# ${asking} answers searched`)
})
