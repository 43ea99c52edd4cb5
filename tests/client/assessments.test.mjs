// Assessments by an unmodified supabase-js on the demo: written, published, taken and completed; and what of it is embedded.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'

let stack
let ines
let lena
before(async () => {
  stack = await startSandbox({ seed: true })
  ines = await signedIn('ines@ironworks.example')
  lena = await signedIn('lena@ironworks.example')
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

test('a course with a quiz and an exam is written, published, taken and completed', async () => {
  const course = ok(await ines.from('courses')
    .insert({ tenant_id: IRONWORKS, slug: 'fire-classes', title: 'Fire Classes', required_score: 60 }).select().single())
  const module = ok(await ines.from('modules').insert({ course_id: course.id, title: 'Basics' }).select().single())
  const lesson = ok(await ines.from('lessons')
    .insert({ module_id: module.id, title: 'Six classes', completion_rule: 'assessment' }).select().single())
  ok(await ines.from('lesson_blocks')
    .insert({ lesson_id: lesson.id, type: 'markdown', content: { markdown: 'A, B, C, D, F and oil.' } }))

  const quiz = ok(await ines.from('assessments')
    .insert({ lesson_id: lesson.id, title: 'Which class?', passing_percentage: 50, answers_shown: 'after_pass' }).select().single())
  const exam = ok(await ines.from('assessments')
    .insert({ course_id: course.id, kind: 'exam', title: 'Final', weight: 3, max_attempts: 2, answers_shown: 'never' }).select().single())
  assert.equal(quiz.course_id, course.id)

  const choice = { options: [{ id: 'a', text: 'Water' }, { id: 'b', text: 'Foam' }] }
  const [oil, metal] = ok(await ines.from('questions').insert([
    { assessment_id: quiz.id, type: 'single', prompt: 'What puts out oil?', content: choice, points: 2 },
    { assessment_id: quiz.id, type: 'true_false', prompt: 'Water puts out burning metal.', content: {}, points: 2 },
  ]).select())
  const section = ok(await ines.from('assessment_sections')
    .insert({ assessment_id: exam.id, title: 'Pool', draw_count: 2 }).select().single())
  const pool = ok(await ines.from('questions').insert([1, 2, 3, 4].map((n) => (
    { assessment_id: exam.id, section_id: section.id, type: 'numeric', prompt: `How much is ${n} + ${n}?` }
  ))).select())

  const faults = ok(await ines.rpc('check_course', { p_course_id: course.id }))
  assert.deepEqual(new Set(faults.map(({ code }) => code)), new Set(['question_without_key']))
  const wrong = await ines.rpc('set_answer_key', { p_question_id: oil.id, p_key: { correct: 'z' } })
  assert.equal(wrong.error.code, 'invalid_key')
  ok(await ines.rpc('set_answer_key', { p_question_id: oil.id, p_key: { correct: 'b' }, p_explanation: 'Oil floats on water.' }))
  ok(await ines.rpc('set_answer_key', { p_question_id: metal.id, p_key: { correct: false } }))
  for (const [n, question] of pool.entries()) {
    ok(await ines.rpc('set_answer_key', { p_question_id: question.id, p_key: { value: String(2 * (n + 1)) } }))
  }
  assert.deepEqual(ok(await ines.rpc('get_answer_key', { p_question_id: oil.id })).key, { correct: 'b' })
  ok(await ines.rpc('publish_course', { p_course_id: course.id }))

  // What authors read in one request.
  const [draft] = ok(await ines.from('assessments')
    .select('title, questions(prompt, points), assessment_sections(title, draw_count), lessons(title)').eq('id', quiz.id))
  assert.deepEqual([draft.questions.length, draft.lessons.title], [2, 'Six classes'])

  const enrollment = ok(await lena.rpc('enroll', { p_course_id: course.id }))
  assert.equal(enrollment.items_total, 3)
  const claim = await lena.rpc('complete_lesson', { p_lesson_id: lesson.id })
  assert.equal(claim.error.code, 'evidence_required')
  const outline = ok(await lena.rpc('get_course_outline', { p_course_id: course.id }))
  assert.deepEqual(outline.modules[0].lessons[0].assessments.map(({ title }) => title), ['Which class?'])
  assert.deepEqual(outline.assessments.map(({ title }) => title), ['Final'])

  // Keys, and questions before they are asked, are not there for learners.
  assert.deepEqual(ok(await lena.from('questions').select('id').eq('assessment_id', quiz.id)), [])
  assert.equal((await lena.rpc('get_answer_key', { p_question_id: oil.id })).error.code, 'question_not_found')

  const attempt = ok(await lena.rpc('start_attempt', { p_assessment_id: quiz.id }))
  assert.equal(ok(await lena.rpc('start_attempt', { p_assessment_id: quiz.id })).id, attempt.id)
  assert.deepEqual(attempt.questions.map(({ prompt }) => prompt), ['What puts out oil?', 'Water puts out burning metal.'])
  const misfit = await lena.rpc('save_answers', { p_attempt_id: attempt.id, p_answers: { [oil.id]: 'z', [metal.id]: 'yes' } })
  assert.deepEqual(details(misfit).map(({ question_id }) => question_id).sort(), [oil.id, metal.id].sort())
  const receipt = ok(await lena.rpc('save_answers', { p_attempt_id: attempt.id, p_answers: { [oil.id]: 'b' } }))
  assert.equal(receipt.saved, 1)
  assert.equal(ok(await lena.rpc('get_attempt', { p_attempt_id: attempt.id })).questions[0].response, 'b')
  const result = ok(await lena.rpc('submit_attempt', { p_attempt_id: attempt.id, p_answers: { [metal.id]: true } }))
  assert.deepEqual([result.status, result.percentage, result.passed], ['graded', 50, true])
  assert.deepEqual(ok(await lena.rpc('submit_attempt', { p_attempt_id: attempt.id })), result)
  const late = await lena.rpc('save_answers', { p_attempt_id: attempt.id, p_answers: { [metal.id]: false } })
  assert.equal(late.error.code, 'attempt_over')

  // The lesson followed; the exam remains.
  const between = ok(await lena.rpc('get_course_progress', { p_course_id: course.id }))
  assert.deepEqual([between.completed_lessons, between.total_lessons, between.status], [2, 3, 'in_progress'])

  const final = ok(await lena.rpc('start_attempt', { p_assessment_id: exam.id }))
  assert.equal(final.questions.length, 2)
  const answers = Object.fromEntries(final.questions.map(({ question_id, prompt }) => (
    [question_id, String(2 * Number(prompt.match(/\d/)[0]))]
  )))
  assert.equal(ok(await lena.rpc('submit_attempt', { p_attempt_id: final.id, p_answers: answers })).percentage, 100)

  const done = ok(await lena.from('enrollments').select('status, final_grade, progress_percentage').eq('id', enrollment.id).single())
  assert.deepEqual(done, { status: 'completed', final_grade: 87.5, progress_percentage: 100 })
  const again = await lena.rpc('start_attempt', { p_assessment_id: exam.id })
  assert.deepEqual(details(again).map(({ code }) => code), ['course_completed'])

  // What a learner reads of it in one request, and what not.
  const own = ok(await lena.from('assessment_attempts')
    .select('number, assessments(title), attempt_scores(percentage), attempt_answers(response), answer_scores(points)')
    .eq('course_id', course.id).order('started_at'))
  assert.deepEqual(own.map(({ assessments }) => assessments.title), ['Which class?', 'Final'])
  assert.deepEqual(own.map(({ answer_scores }) => answer_scores.length), [2, 0], 'points are shown as the assessment says')
  const theirs = ok(await ines.from('assessment_attempts')
    .select('people(display_name), attempt_questions(question_revisions(prompt))').eq('course_id', course.id))
  assert.deepEqual(theirs.map(({ people }) => people.display_name), ['Lena Fischer', 'Lena Fischer'])
})
