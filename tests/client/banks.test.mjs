// A real question bank, from its files to a completed course, by an unmodified supabase-js: imported by its author, published,
// taken by a learner to the last question. The answers that are given come from the files, not from the keys.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { startSandbox } from './sandbox.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const program = process.env.LYCEUM_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${root}target`}/debug/lyceum`
const data = `${process.env.LYCEUM_DATA ?? `${root}../shared/data`}/oatutor`
const skip = existsSync(`${data}/problems.json.gz`) ? false : 'there is no ../shared/data/oatutor beside the checkout, nor in $LYCEUM_DATA'

let stack
let ines
let lena
let token
before(async () => {
  if (skip) return
  stack = await startSandbox({ seed: true })
  ines = await signedIn('ines@ironworks.example')
  lena = await signedIn('lena@ironworks.example')
})
after(() => stack?.stop())

async function signedIn(email) {
  const client = stack.client()
  const { data: { session }, error } = await client.auth.signInWithPassword({ email, password: 'lyceum-demo' })
  assert.equal(error, null)
  if (email.startsWith('ines')) token = session.access_token
  return client.schema('lms')
}

function ok({ data, error, status }) {
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}

/** All rows of a query that pages. */
async function all(query) {
  const rows = []
  for (let page = []; rows.length === 0 || page.length === 500;) {
    page = ok(await query().range(rows.length, rows.length + 499))
    rows.push(...page)
    if (page.length === 0) break
  }
  return rows
}

/** What a learner types who knows what the file says: LaTeX as one types it. */
function typed(answer) {
  return answer.replaceAll('$$', '').replaceAll(/\\left|\\right/g, '')
    .replace(/^(-?)\\frac\{(-?\d+)\}\{\(?(-?\d+)\)?\}$/, '$1$2/$3').replaceAll(/\^\{(\d+)\}/g, '^$1').replaceAll(/[{}]/g, '')
}

/** Takes assessments to the end, all of it right: the keys of the questions that were asked. */
async function takeAll(learner, assessments, steps) {
  const asked = new Set()
  for (const assessment of assessments) {
    const attempt = ok(await learner.rpc('start_attempt', { p_assessment_id: assessment.id }))
    const answers = attempt.questions.map((question) => {
      asked.add(question.question_key)
      const { stepAnswer: [answer] } = steps.get(question.question_key)
      return [question.question_id, question.type === 'single' ? question.content.options.find(({ text }) => text === answer.trim()).id : typed(answer)]
    })
    // Some are saved on the way, the rest comes with handing in.
    ok(await learner.rpc('save_answers', { p_attempt_id: attempt.id, p_answers: Object.fromEntries(answers.slice(0, 3)) }))
    const result = ok(await learner.rpc('submit_attempt', { p_attempt_id: attempt.id, p_answers: Object.fromEntries(answers.slice(3)) }))
    assert.deepEqual([result.status, result.percentage], ['graded', 100], `${assessment.title}: ${JSON.stringify(attempt.questions.map(({ question_key, prompt }, n) => [question_key, prompt, answers[n][1]]))}`)
  }
  return asked
}

test('the bank of OATutor is imported, published and taken to the end', { skip }, async () => {
  const steps = new Map(JSON.parse(gunzipSync(readFileSync(`${data}/problems.json.gz`)))
    .problems.flatMap(({ steps }) => steps).map((step) => [step.id, step]))
  const { stdout } = await promisify(execFile)(program, [
    'import', 'oatutor', data, '--tenant', 'ironworks', '--api-url', stack.API_URL,
  ], { cwd: root, env: { ...process.env, ANON_KEY: stack.ANON_KEY, ACCESS_TOKEN: token } })
  assert.match(stdout, /assessed {3}openstax-elementary-algebra; assessments: \d+ created/)

  const course = ok(await ines.from('courses').select('id').eq('slug', 'openstax-elementary-algebra').single())
  assert.deepEqual(ok(await ines.rpc('check_course', { p_course_id: course.id })).filter(({ level }) => level === 'fault'), [])
  ok(await ines.from('courses').update({ visibility: 'restricted', self_enrollment: 'open' }).eq('id', course.id))
  ok(await ines.rpc('publish_course', { p_course_id: course.id }))
  const assessments = ok(await ines.from('assessments').select('id, title, assessment_sections(draw_count), questions!question_is_of_an_assessment_of_the_course(count)').eq('course_id', course.id))
  assert.equal(assessments.reduce((sum, { questions }) => sum + questions[0].count, 0), 581)

  const enrollment = ok(await lena.rpc('enroll', { p_course_id: course.id }))
  const drawn = await takeAll(lena, assessments, steps)
  assert.equal(drawn.size, assessments.reduce((sum, { assessment_sections: [{ draw_count }] }) => sum + draw_count, 0))

  // A wrong answer is worth nothing.
  const again = ok(await lena.rpc('start_attempt', { p_assessment_id: assessments[0].id }))
  const wrong = Object.fromEntries(again.questions.map(({ question_id, question_key, type, content }) => [
    question_id, type === 'single' ? content.options.find(({ text }) => text !== steps.get(question_key).stepAnswer[0].trim()).id : '-987654321',
  ]))
  assert.equal(ok(await lena.rpc('submit_attempt', { p_attempt_id: again.id, p_answers: wrong })).percentage, 0)

  // The lessons, and the course is done: what was practised counts as its items.
  const lessons = await all(() => lena.from('version_lessons').select('lesson_id').eq('version_id', enrollment.version_id).order('lesson_id'))
  for (const { lesson_id } of lessons) ok(await lena.rpc('complete_lesson', { p_lesson_id: lesson_id }))
  const progress = ok(await lena.rpc('get_course_progress', { p_course_id: course.id }))
  assert.deepEqual([progress.status, progress.percentage], ['completed', 100])

  // Without drawing, every single question is asked: each answer of the file is right.
  ok(await ines.from('assessment_sections').update({ draw_count: null }).in('assessment_id', assessments.map(({ id }) => id)))
  ok(await ines.rpc('publish_course', { p_course_id: course.id }))
  const noah = await signedIn('noah@ironworks.example')
  ok(await noah.rpc('enroll', { p_course_id: course.id }))
  assert.equal((await takeAll(noah, assessments, steps)).size, 581)
})
