// Learning events by an unmodified supabase-js: batches of answers and activities, sent again after a lost connection, kept
// while offline; what is refused, and what a session is made of.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
const HAZMAT = 'c0000000-0000-4000-8000-000000000001'

let stack
before(async () => { stack = await startSandbox({ seed: true }) })
after(() => stack.stop())

async function signedIn(email) {
  const client = stack.client()
  const { data, error } = await client.auth.signInWithPassword({ email, password: 'lyceum-demo' })
  assert.equal(error, null)
  return { client, lms: client.schema('lms'), analytics: client.schema('analytics'), userId: data.user.id }
}

function ok({ data, error, status }) {
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}

const answersTo = (course_id, questions) => questions.map((question_key, place) => ({
  id: randomUUID(), course_id, section_key: 'labels', question_key, is_correct: place % 2 === 0, response_meta: { ms: 900 + place }
}))

test('a learner records batches of answers and activities', async () => {
  const { lms, analytics, userId } = await signedIn('lena@ironworks.example')
  const early = await analytics.from('question_events').insert(answersTo(HAZMAT, ['q1']))
  assert.equal(early.status, 409)
  assert.equal(early.error.code, 'not_enrolled')
  ok(await lms.from('enrollments').insert({ user_id: userId, course_id: HAZMAT }))

  const batch = answersTo(HAZMAT, ['q1', 'q2', 'q1', 'q3'])
  const first = await analytics.from('question_events').insert(batch)
  assert.equal(first.status, 201, JSON.stringify(first.error))

  // The answer got lost: the client sends all of it again, and later some of it with more.
  const again = await analytics.from('question_events').insert(batch).select()
  assert.equal(again.status, 201, JSON.stringify(again.error))
  assert.deepEqual(again.data, [], 'nothing was added')
  const more = ok(await analytics.from('question_events').insert([...batch, ...answersTo(HAZMAT, ['q1'])]).select('question_key, attempt_index'))
  assert.deepEqual(more, [{ question_key: 'q1', attempt_index: 3 }])

  const own = ok(await analytics.from('question_events')
    .select('id, tenant_id, user_id, question_key, attempt_index, source, is_counted, is_time_plausible, answered_at, received_at')
    .eq('user_id', userId))
  assert.equal(own.length, 5)
  assert.ok(own.every((event) => event.tenant_id === IRONWORKS && event.user_id === userId && event.source === 'client'))
  assert.ok(own.every((event) => event.answered_at === event.received_at && event.is_time_plausible))
  assert.deepEqual(own.filter((event) => event.question_key === 'q1').map((event) => event.attempt_index).sort(), [1, 2, 3])

  ok(await analytics.from('activity_events').insert([
    { id: randomUUID(), course_id: HAZMAT, event_type: 'start_course' },
    { id: randomUUID(), course_id: HAZMAT, event_type: 'view_section', meta: { section: 'labels' } }
  ]))
  const sessions = ok(await analytics.from('learning_sessions').select('course_id, ended_at, duration_seconds, people(display_name)').eq('user_id', userId))
  assert.equal(sessions.length, 1, 'one session, of answers and activities')
  assert.equal(sessions[0].ended_at, null)
  assert.match(sessions[0].people.display_name, /^Lena/)
})

test('what happened offline is kept with the time that the device says', async () => {
  const { analytics, userId } = await signedIn('lena@ironworks.example')
  const at = (days) => new Date(Date.now() + days * 86_400_000).toISOString()
  ok(await analytics.from('activity_events').insert([-2, -400, 3].map((days) => (
    { id: randomUUID(), course_id: HAZMAT, event_type: 'open_file', occurred_at: at(days), meta: { days } }
  ))))
  const events = ok(await analytics.from('activity_events').select('meta, occurred_at, received_at, is_time_plausible')
    .eq('user_id', userId).eq('event_type', 'open_file'))
  assert.deepEqual(Object.fromEntries(events.map((event) => [event.meta.days, event.is_time_plausible])), { '-2': true, '-400': false, 3: false })
  assert.ok(events.every((event) => Math.abs(Date.parse(event.received_at) - Date.now()) < 60_000))
})

test('columns of the server, other people and unknown types are refused', async () => {
  const { analytics } = await signedIn('lena@ironworks.example')
  for (const column of [{ tenant_id: IRONWORKS }, { source: 'server' }, { received_at: '2001-01-01' }, { is_counted: true }]) {
    const refused = await analytics.from('question_events').insert({ ...answersTo(HAZMAT, ['q'])[0], ...column })
    assert.equal(refused.status, 403, JSON.stringify(column))
    assert.equal(refused.error.code, '42501')
  }
  const other = await analytics.from('activity_events').insert({ user_id: randomUUID(), course_id: HAZMAT, event_type: 'start_course' })
  assert.equal(other.status, 403)

  const unknown = await analytics.from('activity_events').insert({ course_id: HAZMAT, event_type: 'levitate' })
  assert.equal(unknown.status, 422)
  assert.equal(unknown.error.code, 'unknown_event_type')
  const { known } = JSON.parse(unknown.error.details)
  const listed = ok(await analytics.from('event_types').select('event_type').order('event_type'))
  assert.deepEqual(known, listed.map((type) => type.event_type))

  for (const gone of [await analytics.from('question_events').delete().eq('section_key', 'labels'),
    await analytics.from('question_events').update({ is_correct: true }).eq('section_key', 'labels')]) {
    assert.equal(gone.status, 403, JSON.stringify(gone))
  }
  // A row with an id is taken once as it is.
  const upserted = await analytics.from('question_events').upsert(answersTo(HAZMAT, ['q']))
  assert.equal(upserted.error.code, '0A000', JSON.stringify(upserted))
})

test('a tenant registers types of its own', async () => {
  const admin = await signedIn('ada@ironworks.example')
  const learner = await signedIn('lena@ironworks.example')
  const registered = { tenant_id: IRONWORKS, event_type: 'open_safety_data_sheet', description: 'A safety data sheet was opened' }
  assert.equal((await learner.analytics.from('event_types').insert(registered)).status, 403)
  ok(await admin.analytics.from('event_types').insert(registered))
  ok(await learner.analytics.from('activity_events').insert({ course_id: HAZMAT, event_type: 'open_safety_data_sheet' }))
})
