// What front-end developers do with courses beyond a first session, by an unmodified supabase-js on the demo: versions,
// what opens and completes a lesson, requests, categories and reviews.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
const HAZMAT = 'c0000000-0000-4000-8000-000000000001'

let stack
let ines
let lena
let hanna
before(async () => {
  stack = await startSandbox({ seed: true })
  ines = await signedIn('ines@ironworks.example')
  lena = await signedIn('lena@ironworks.example')
  hanna = await signedIn('hanna@ironworks.example')
})
after(() => stack.stop())

async function signedIn(email) {
  const client = stack.client()
  const { error } = await client.auth.signInWithPassword({ email, password: 'lyceum-demo' })
  assert.equal(error, null)
  return client.schema('lms')
}

function ok({ data, error, status }) {
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}

const details = ({ error }) => JSON.parse(error.details)

test('a course is written, published, changed and published again; who takes it keeps what they began', async () => {
  const course = ok(await ines.from('courses')
    .insert({ tenant_id: IRONWORKS, slug: 'crane-signals', title: 'Crane Signals' }).select().single())
  const module = ok(await ines.from('modules').insert({ course_id: course.id, title: 'By hand' }).select().single())
  const settings = [
    { title: 'Stop' },
    { title: 'Hoist', completion_rule: 'all_blocks' },
    { title: 'Watch it done', completion_rule: 'watched', required_watched_percentage: 80 },
  ]
  const lessons = []
  for (const setting of settings) {
    lessons.push(ok(await ines.from('lessons').insert({ module_id: module.id, ...setting }).select().single()))
  }
  const blocks = ok(await ines.from('lesson_blocks').insert([
    { lesson_id: lessons[0].id, type: 'markdown', content: { markdown: 'Arm out, palm down.' } },
    { lesson_id: lessons[1].id, type: 'markdown', content: { markdown: 'Forearm up, finger up.' } },
    { lesson_id: lessons[2].id, type: 'video', content: { url: 'https://example.com/crane.mp4', duration: 100 } },
  ]).select())
  const blockOf = (lesson) => blocks.find((block) => block.lesson_id === lesson.id).id
  ok(await ines.from('lesson_prerequisites')
    .insert({ lesson_id: lessons[1].id, prerequisite_lesson_id: lessons[0].id }))
  const circle = await ines.from('lesson_prerequisites')
    .insert({ lesson_id: lessons[0].id, prerequisite_lesson_id: lessons[1].id })
  assert.equal(circle.error.code, 'prerequisite_circle')

  assert.deepEqual(ok(await ines.rpc('check_course', { p_course_id: course.id })), [])
  // Learners see nothing of a draft.
  assert.deepEqual(ok(await lena.from('courses').select('id').eq('id', course.id)), [])
  assert.equal(ok(await ines.rpc('publish_course', { p_course_id: course.id })).status, 'published')

  ok(await lena.rpc('enroll', { p_course_id: course.id }))
  const outline = ok(await lena.rpc('get_course_outline', { p_course_id: course.id }))
  assert.equal(outline.version, 1)
  assert.deepEqual(outline.modules[0].lessons.map(({ obstacles }) => obstacles.map(({ code }) => code)), [[], ['prerequisite_unmet'], []])

  const locked = await lena.rpc('complete_lesson', { p_lesson_id: lessons[1].id })
  assert.equal(locked.error.code, 'lesson_locked')
  assert.equal(locked.status, 409)
  assert.equal(details(locked)[0].details.lessons[0].title, 'Stop')
  assert.equal((await lena.rpc('get_lesson', { p_lesson_id: lessons[1].id })).error.code, 'lesson_locked')

  assert.equal(ok(await lena.rpc('complete_lesson', { p_lesson_id: lessons[0].id })).course_percentage, 33.33)
  const claimed = await lena.rpc('complete_lesson', { p_lesson_id: lessons[1].id })
  assert.equal(claimed.error.code, 'evidence_required')
  const read = ok(await lena.rpc('record_block_progress', { p_block_id: blockOf(lessons[1]), p_progress_percentage: 100 }))
  assert.equal(read.lesson_status, 'completed')

  // The player reports what was played; a seek leaves a gap.
  const report = (p_watched) => lena.rpc('record_block_progress', { p_block_id: blockOf(lessons[2]), p_watched, p_last_position: { second: 50 } })
  assert.equal(ok(await report([[0, 50]])).lesson_percentage, 50)
  assert.equal(ok(await report([[40, 60], [90, 100]])).lesson_percentage, 70)
  assert.equal(ok(await lena.from('block_progress').select('watched').eq('block_id', blockOf(lessons[2])).single()).watched, '{[0,60),[90,100)}')

  // The author takes the video out and rewrites the first lesson; the learner's version stays.
  ok(await ines.rpc('delete_lesson', { p_lesson_id: lessons[2].id }))
  ok(await ines.from('lesson_blocks').update({ content: { markdown: 'Arm out, palm down, move it.' } }).eq('lesson_id', lessons[0].id))
  const draft = ok(await ines.rpc('get_version_diff', { p_course_id: course.id, p_from: 1 }))
  assert.deepEqual(draft.map(({ kind, change }) => `${kind} ${change}`), ['lesson removed', 'block changed', 'block removed'])
  ok(await ines.rpc('publish_course', { p_course_id: course.id }))
  assert.equal(ok(await lena.rpc('get_course_progress', { p_course_id: course.id })).percentage, 66.66)
  assert.equal(ok(await lena.rpc('get_lesson', { p_lesson_id: lessons[0].id })).blocks[0].content.markdown, 'Arm out, palm down.')

  const [preview] = ok(await ines.rpc('preview_enrollment_migration', { p_course_id: course.id, p_policy: 'move' }))
  assert.equal(preview.completes, true)
  assert.equal(ok(await ines.rpc('migrate_enrollments', { p_course_id: course.id, p_policy: 'move' })).completed, 1)
  assert.equal(ok(await lena.rpc('get_course_progress', { p_course_id: course.id })).status, 'completed')

  // To the block, what somebody was trained on: by the author, and by REST.
  const enrollment = ok(await lena.from('enrollments').select('id, version_id, course_versions(number)').eq('course_id', course.id).single())
  assert.equal(enrollment.course_versions.number, 2)
  const trained = ok(await ines.rpc('get_lesson', { p_lesson_id: lessons[0].id, p_enrollment_id: enrollment.id }))
  assert.equal(trained.blocks[0].content.markdown, 'Arm out, palm down, move it.')
  const frozen = ok(await lena.from('version_blocks').select('order_index, block_revisions(content)').eq('version_id', enrollment.version_id).eq('lesson_id', lessons[0].id))
  assert.equal(frozen[0].block_revisions.content.markdown, 'Arm out, palm down, move it.')
})

test('notes are one\'s own; staff corrects progress with a reason', async () => {
  const { data: outline } = await lena.rpc('get_course_outline', { p_course_id: HAZMAT })
  const lesson = outline.modules[0].lessons[0]
  const enrollment = ok(await lena.rpc('enroll', { p_course_id: HAZMAT }))
  ok(await lena.from('lesson_notes').insert({ lesson_id: lesson.id, body: 'Ask Marco about class 7' }))
  assert.deepEqual(ok(await hanna.from('lesson_notes').select('*')), [])
  const corrected = ok(await hanna.rpc('correct_progress', {
    p_enrollment_id: enrollment.id, p_lesson_id: lesson.id, p_progress_percentage: 100, p_reason: 'Done on paper, 3 May',
  }))
  assert.equal(corrected.completed_lessons, 1)
  const mine = ok(await lena.from('progress_corrections').select('new_percentage, reason').single())
  assert.deepEqual(mine, { new_percentage: 100, reason: 'Done on paper, 3 May' })
})

test('a small course with a queue, and one where staff decides', async () => {
  const course = ok(await ines.from('courses').select('id').eq('slug', 'crane-signals').single())
  ok(await ines.from('courses').update({ self_enrollment: 'approval', capacity: 1 }).eq('id', course.id))
  const noah = await signedIn('noah@ironworks.example')
  const asked = ok(await noah.rpc('request_enrollment', { p_course_id: course.id, p_message: 'For the night shift' }))
  assert.equal(asked.status, 'pending')
  const seen = ok(await ines.from('enrollment_requests').select('id, message, status').eq('course_id', course.id).single())
  assert.equal(seen.message, 'For the night shift')
  assert.equal(ok(await ines.rpc('decide_enrollment_request', { p_request_id: seen.id, p_approve: true })).status, 'enrolled')
  const mia = await signedIn('mia@ironworks.example')
  assert.equal(ok(await mia.rpc('request_enrollment', { p_course_id: course.id })).status, 'pending')
  const eligibility = ok(await mia.rpc('check_enrollment_eligibility', { p_course_id: course.id }))
  assert.deepEqual(eligibility.reasons.map(({ code }) => code), ['approval_required', 'capacity_full'])
})

test('categories, tags and reviews hang on courses', async () => {
  const ada = await signedIn('ada@ironworks.example')
  const category = ok(await ada.from('categories').insert({ tenant_id: IRONWORKS, slug: 'safety', name: 'Safety' }).select().single())
  const tag = ok(await ada.from('tags').insert({ tenant_id: IRONWORKS, slug: 'yearly', name: 'Yearly' }).select().single())
  ok(await ines.from('course_categories').insert({ course_id: HAZMAT, category_id: category.id }))
  ok(await ines.from('course_tags').insert({ course_id: HAZMAT, tag_id: tag.id }))
  const card = ok(await lena.from('courses').select('title, categories(name), tags(name)').eq('id', HAZMAT).single())
  assert.deepEqual([card.categories, card.tags], [[{ name: 'Safety' }], [{ name: 'Yearly' }]])
  const featured = await ines.from('courses').update({ is_featured: true }).eq('slug', 'crane-signals')
  assert.equal(featured.error.code, '42501')

  const review = { course_id: HAZMAT, rating: 4, body: 'Clear, and short enough.' }
  ok(await lena.from('course_reviews').insert(review))
  assert.equal((await lena.from('course_reviews').insert(review)).error.code, '23505')
  const noah = await signedIn('noah@ironworks.example')
  ok(await noah.from('course_reviews').insert({ course_id: HAZMAT, rating: 5 }))
  assert.deepEqual(ok(await lena.from('courses').select('rating_average, rating_count').eq('id', HAZMAT).single()), { rating_average: 4.5, rating_count: 2 })
  assert.equal((await hanna.from('course_reviews').insert({ course_id: HAZMAT, rating: 1 })).error.code, 'course_not_started')
})
