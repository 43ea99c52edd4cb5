// The calls of the web clients that Lyceum is made for, by an unmodified supabase-js: a learner's way through a course.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
const HAZMAT = 'c0000000-0000-4000-8000-000000000001'
const WRITING = 'c0000000-0000-4000-8000-000000000011'

let stack
before(async () => { stack = await startSandbox({ functions: true, seed: true }) })
after(() => stack.stop())

async function signedIn(email) {
  const client = stack.client()
  const { data, error } = await client.auth.signInWithPassword({ email, password: 'lyceum-demo' })
  assert.equal(error, null)
  return { client, lms: client.schema('lms'), userId: data.user.id }
}

function ok({ data, error, status }) {
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}

test('courses of a tenant with modules and lessons, newest first', async () => {
  const { lms } = await signedIn('lena@ironworks.example')
  const courses = ok(await lms
    .from('courses')
    .select(`
      id,
      title,
      description,
      modules (
        id,
        title,
        order_index,
        lessons (
          id,
          title,
          duration
        )
      )
    `)
    .eq('tenant_id', IRONWORKS)
    .order('created_at', { ascending: false }))
  assert.deepEqual(courses.map((course) => course.title).sort(), ['Forklift Refresher', 'Handling Hazardous Materials'])
  const hazmat = courses.find((course) => course.id === HAZMAT)
  assert.equal(hazmat.modules.length, 3)
  assert.equal(hazmat.modules.flatMap((module) => module.lessons).length, 9)
})

test('enrol by inserting a row, work through the lessons by upserts, end at exactly 100', async () => {
  const { lms, userId } = await signedIn('lena@ironworks.example')
  const enrollment = ok(await lms
    .from('enrollments')
    .insert({ user_id: userId, course_id: HAZMAT, enrolled_at: '2001-01-01T00:00:00Z' })
    .select()
    .single())
  assert.equal(enrollment.status, 'enrolled')
  assert.ok(Date.parse(enrollment.enrolled_at) > Date.parse('2026-01-01'), 'the server sets the time')
  assert.equal(enrollment.progress_percentage, 0)

  const twice = await lms.from('enrollments').insert({ user_id: userId, course_id: HAZMAT }).select().single()
  assert.equal(twice.status, 409)
  assert.equal(twice.error.code, 'not_eligible')
  assert.deepEqual(JSON.parse(twice.error.details).map((reason) => reason.code), ['already_enrolled'])

  const updateLessonProgress = (lessonId, progress) => lms
    .from('lesson_progress')
    .upsert({
      user_id: userId,
      lesson_id: lessonId,
      progress_percentage: progress,
      updated_at: new Date().toISOString(),
      ...(progress >= 100 && { completed_at: new Date().toISOString() }),
    })

  const required = ok(await lms.from('lessons').select('id').eq('course_id', HAZMAT).eq('requires_completion', true))
  assert.equal(required.length, 8)
  const expected = [12.5, 25, 37.5, 50, 62.5, 75, 87.5, 100]
  for (const [index, lesson] of required.entries()) {
    ok(await updateLessonProgress(lesson.id, 30))
    ok(await updateLessonProgress(lesson.id, 100))
    ok(await updateLessonProgress(lesson.id, 60))
    const progress = ok(await lms.rpc('get_course_progress', { p_course_id: HAZMAT }))
    assert.equal(progress.percentage, expected[index])
    assert.equal(progress.completed_lessons, index + 1)
    assert.equal(progress.total_lessons, 8)
  }
  const done = ok(await lms.from('enrollments').select().eq('id', enrollment.id).single())
  assert.equal(done.status, 'completed')
  assert.ok(done.completed_at >= done.enrolled_at)

  const impossible = await updateLessonProgress(required[0].id, 101)
  assert.equal(impossible.error.code, '23514')
  assert.match(impossible.error.message, /percentage_is_between_0_and_100/)
})

test('a batch of progress, as an offline queue sends it', async () => {
  const { lms, userId } = await signedIn('wren@ironworks.example')
  const lessons = ok(await lms.from('lessons').select('id').eq('course_id', HAZMAT))
  const queue = lessons.map((lesson) => ({ user_id: userId, lesson_id: lesson.id, progress_percentage: 100 }))
  ok(await lms.from('lesson_progress').upsert(queue))
  ok(await lms.from('lesson_progress').upsert(queue))
  const [course] = ok(await lms.rpc('get_user_courses')).filter((row) => row.course_id === HAZMAT)
  assert.equal(course.progress, 100)
  assert.equal(course.status, 'completed')
})

test('outline, lesson, dashboard and own courses: each in one call', async () => {
  const { lms, userId } = await signedIn('noah@ironworks.example')
  const outline = ok(await lms.rpc('get_course_outline', { p_course_id: HAZMAT }))
  assert.equal(outline.percentage, 62.5)
  assert.deepEqual(outline.modules.map((module) => module.lessons.length), [3, 3, 3])
  const statuses = outline.modules.flatMap((module) => module.lessons).map((lesson) => lesson.status)
  assert.equal(statuses.filter((status) => status === 'completed').length, 5)

  const lesson = ok(await lms.rpc('get_lesson', { p_lesson_id: outline.modules[1].lessons[0].id }, { get: true }))
  assert.equal(lesson.blocks.length, 1)
  assert.match(lesson.blocks[0].content.markdown, /packing group/)

  const dashboard = ok(await lms.rpc('get_dashboard'))
  assert.equal(dashboard.statistics.active_courses, 2)
  assert.equal(dashboard.statistics.completed_courses, 1)
  assert.equal(dashboard.statistics.completed_lessons, 9)
  assert.equal(dashboard.active_courses.length, 2)
  assert.equal(dashboard.recent_activity.length, 9)
  assert.deepEqual(dashboard.due_items.map((item) => item.title), ['Handling Hazardous Materials'])

  const courses = ok(await lms.rpc('get_user_courses', { p_user_id: userId }))
  assert.equal(courses.length, 3)
  const firstPage = ok(await lms.rpc('get_user_courses', { p_limit: 2 }))
  const secondPage = ok(await lms.rpc('get_user_courses', { p_limit: 2, p_after_enrollment_id: firstPage[1].enrollment_id }))
  assert.deepEqual([...firstPage, ...secondPage].map((row) => row.course_id), courses.map((row) => row.course_id))
})

test('a public course: its card for everyone, its preview too, the rest after enrolling', async () => {
  const anonymous = stack.client().schema('lms')
  const cards = ok(await anonymous.from('courses').select('id, title, modules(lessons(id, title, is_preview))'))
  assert.deepEqual(cards.map((card) => card.title).sort(), ["The Editor's Workshop", 'Writing for Busy Readers'])
  const lessons = cards.find((card) => card.id === WRITING).modules.flatMap((module) => module.lessons)
  const preview = lessons.find((lesson) => lesson.is_preview)
  const other = lessons.find((lesson) => !lesson.is_preview)
  assert.equal(ok(await anonymous.rpc('get_lesson', { p_lesson_id: preview.id })).blocks.length, 1)
  const refused = await anonymous.rpc('get_lesson', { p_lesson_id: other.id })
  assert.equal(refused.status, 403)
  assert.equal(refused.error.code, 'not_enrolled')
  assert.equal((await anonymous.from('lesson_blocks').select()).error.code, '42501')

  const newcomer = stack.client()
  const { data: { user } } = await newcomer.auth.signUp({ email: 'newcomer@client.example', password: 'long enough' })
  ok(await newcomer.schema('lms').rpc('enroll', { p_course_id: WRITING }))
  assert.equal(ok(await newcomer.schema('lms').rpc('get_lesson', { p_lesson_id: other.id })).blocks.length, 1)
  // As a guest: of the organisation itself they see the name.
  const memberships = ok(await newcomer.schema('lms').from('memberships').select('is_guest, tenants(slug)').eq('user_id', user.id))
  assert.deepEqual(memberships, [{ is_guest: true, tenants: null }])
  const access = ok(await newcomer.schema('lms').rpc('get_my_access'))
  assert.deepEqual(access.tenants.map(({ slug, is_guest, permissions }) => ({ slug, is_guest, permissions })), [{ slug: 'fieldnotes', is_guest: true, permissions: [] }])
})

test('functions.invoke reaches the enrolment function', async () => {
  const { client } = await signedIn('petra@fieldnotes.example')
  const eligibility = await client.functions.invoke(`enrollment/eligibility?course_id=${WRITING}`, { method: 'GET' })
  assert.equal(eligibility.error, null)
  assert.deepEqual(eligibility.data, { eligible: true, reasons: [] })
  const first = await client.functions.invoke('enrollment', {
    body: { course_id: WRITING }, headers: { 'Idempotency-Key': 'petra-1' },
  })
  const again = await client.functions.invoke('enrollment', {
    body: { course_id: WRITING }, headers: { 'Idempotency-Key': 'petra-1' },
  })
  assert.equal(first.error, null)
  assert.deepEqual(again.data, first.data)

  const twice = await client.functions.invoke('enrollment', { body: { course_id: WRITING } })
  const problem = await twice.error.context.json()
  assert.equal(twice.error.context.headers.get('content-type'), 'application/problem+json')
  assert.equal(problem.code, 'not_eligible')
  assert.deepEqual(problem.reasons.map((reason) => reason.code), ['already_enrolled'])
})

test('an enrolment is paused, resumed and given a date by the function', async () => {
  const { lms } = await signedIn('tomas@ironworks.example')
  const mine = ok(await lms.from('enrollments').select('id, due_at').eq('course_id', HAZMAT).single())
  const change = async (who, body) => {
    const { client } = await signedIn(who)
    const { data, error } = await client.functions.invoke(`enrollment/${mine.id}`, { method: 'PATCH', body })
    return error ? { problem: await error.context.json() } : data
  }
  assert.equal((await change('tomas@ironworks.example', { status: 'paused' })).status, 'paused')
  assert.equal((await change('tomas@ironworks.example', { status: 'resumed' })).status, 'enrolled')
  assert.equal((await change('tomas@ironworks.example', { due_at: null })).problem.status, 403)
  assert.equal((await change('zoe@fieldnotes.example', { status: 'dropped' })).problem.code, 'enrollment_not_found')
  const both = await change('hanna@ironworks.example', { status: 'paused', due_at: '2031-05-01T08:00:00+02:00' })
  assert.deepEqual([both.status, new Date(both.due_at).toISOString()], ['paused', '2031-05-01T06:00:00.000Z'])
  // Half of it does not happen.
  assert.equal((await change('hanna@ironworks.example', { status: 'gone', due_at: null })).problem.code, 'validation_failed')
  assert.equal((await change('hanna@ironworks.example', { status: 'resumed', due_at: null })).due_at, null)
  const late = await change('hanna@ironworks.example', { status: 'resumed', due_at: '2032-05-01T08:00:00Z' })
  assert.equal(late.problem.code, 'transition_not_allowed')
  assert.equal(ok(await lms.from('enrollments').select('due_at').eq('id', mine.id).single()).due_at, null)
})

test('staff: an instructor writes and publishes a course, a manager follows the plant', async () => {
  const { lms: ines, userId } = await signedIn('ines@ironworks.example')
  const course = ok(await ines.from('courses')
    .insert({ tenant_id: IRONWORKS, slug: 'lockout-tagout', title: 'Lockout, tagout' }).select().single())
  assert.equal(course.instructor_id, userId)
  assert.equal(course.status, 'draft')
  const early = await ines.rpc('publish_course', { p_course_id: course.id })
  assert.equal(early.error.code, 'not_publishable')
  const module = ok(await ines.from('modules').insert({ course_id: course.id, title: 'Before you open it' }).select().single())
  const lesson = ok(await ines.from('lessons').insert({ module_id: module.id, title: 'Find every source' }).select().single())
  ok(await ines.from('lesson_blocks').insert({ lesson_id: lesson.id, type: 'rich_text', content: { html: '<p>All of them.</p>' } }))
  const script = await ines.from('lesson_blocks')
    .insert({ lesson_id: lesson.id, type: 'rich_text', content: { html: '<img src="/x" onerror="alert(1)">' } })
  assert.equal(script.error.code, '23514')
  assert.match(script.error.message, /block_content_has_the_shape_of_its_type/)
  assert.equal(ok(await ines.rpc('publish_course', { p_course_id: course.id })).status, 'published')

  const { lms: marco } = await signedIn('marco@ironworks.example')
  const followed = ok(await marco.from('enrollments').select('people(display_name), progress_percentage').eq('course_id', HAZMAT))
  assert.ok(followed.length >= 2)
  assert.ok(followed.every((row) => ['Noah Adeyemi', 'Sam Moreau', 'Lena Fischer'].includes(row.people.display_name)))
  const noah = ok(await marco.from('people').select('id').eq('display_name', 'Noah Adeyemi').single())
  assert.equal(ok(await marco.rpc('get_course_progress', { p_course_id: HAZMAT, p_user_id: noah.id })).percentage, 62.5)
})
