import { writeFile } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { startSandbox } from './sandbox.mjs'
const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
const ok = ({ data, error }) => { if (error) throw new Error(JSON.stringify(error)); return data }
const stack = await startSandbox({ seed: true, functions: true })
try {
  const admin = stack.client(stack.SERVICE_ROLE_KEY), lms = admin.schema('lms')
  const people = ok(await lms.from('memberships').select('user_id, unit_id, people(display_name)').eq('tenant_id', IRONWORKS))
  const courses = []
  for (const [i, title] of ['Lockout and tagout', 'Working at heights', 'Forklift refresher', 'Hearing conservation', 'Confined spaces', 'Machine guarding', 'Hazard communication', 'Fire extinguishers'].entries()) {
    const course = ok(await lms.from('courses').insert({ tenant_id: IRONWORKS, slug: `p-${i}`, title, visibility: 'restricted', instructor_id: 'd0000000-0000-4000-8000-000000000004', certificate_validity_months: i % 3 === 0 ? 12 : null }).select().single())
    const part = ok(await lms.from('modules').insert({ course_id: course.id, title: 'Only' }).select().single())
    for (const t of ['Why it matters', 'Before you begin', 'At the machine', 'Check yourself']) ok(await lms.from('lessons').insert({ module_id: part.id, title: t }).select().single())
    ok(await lms.rpc('publish_course', { p_course_id: course.id }))
    courses.push(course)
  }
  let n = 7
  const next = () => (n = (n * 16807) % 2147483647) / 2147483647
  for (const one of people) for (const [i, course] of courses.entries()) {
    const x = next()
    if (x < 0.25) continue
    const d = (days) => new Date(Date.now() - days * 864e5).toISOString()
    const begun = Math.floor(20 + next() * 320)
    const done = x > 0.25 + 0.3 * (i % 4) / 3 + 0.1
    ok(await lms.from('enrollments').insert({ course_id: course.id, user_id: one.user_id, source: 'import', unit_id: one.unit_id, enrolled_at: d(begun + 5), due_at: d(-20 + i * 8),
      ...(done ? { status: 'completed', started_at: d(begun), completed_at: d(begun - Math.floor(next() * 15)), items_total: 4, items_done: 4 } : {}) }))
  }
  const { default: cp } = await import('node:child_process')
  const sql = (text) => cp.execFileSync('psql', [stack.ADMIN_DB_URL, '-v', 'ON_ERROR_STOP=1', '-qc', text], { stdio: 'inherit' })
  sql(`insert into lms.assignment_rules (id, tenant_id, name, status, activated_at, due_after_days) values ('11111111-1111-4111-8111-111111111111', '${IRONWORKS}', 'All', 'active', now() - interval '60 days', 30);
    insert into lms.assignment_rule_courses (rule_id, course_id) select '11111111-1111-4111-8111-111111111111', c.id from lms.courses c where c.slug like 'p-%';
    insert into lms.training_requirements (tenant_id, rule_id, course_id, user_id, since, due_at)
    select m.tenant_id, r.rule_id, r.course_id, m.user_id, now() - interval '60 days', now() - interval '60 days' + (row_number() over () % 5) * interval '20 days'
    from lms.memberships m cross join lms.assignment_rule_courses r where m.tenant_id = '${IRONWORKS}' and abs(hashtext(m.user_id::text || r.course_id)) % 5 > 0 on conflict do nothing;
    insert into lms.training_waivers (tenant_id, user_id, course_id, reason) select q.tenant_id, q.user_id, q.course_id, 'Long experience' from lms.training_requirements q order by q.user_id limit 3 offset 40;`)
  sql(`insert into analytics.activity_events (id, tenant_id, course_id, user_id, event_type, occurred_at, received_at)
    select gen_random_uuid(), e.tenant_id, e.course_id, e.user_id, 'view_section', at, at from lms.enrollments e, lateral (select now() - (abs(hashtext(e.id::text || i)) % 90) * interval '1 day' as at from generate_series(1,4) i) x where e.tenant_id = '${IRONWORKS}';
    insert into analytics.question_events (id, tenant_id, course_id, user_id, section_key, question_key, is_correct, answered_at, received_at)
    select gen_random_uuid(), e.tenant_id, e.course_id, e.user_id, 'check', k, abs(hashtext(e.id::text || k)) % 10 > r, now(), now() from lms.enrollments e, (values ('which-label-goes-on-a-drum', 6), ('who-may-remove-a-lock', 3), ('when-to-stop-work', 1), ('safe-distance', 4)) as q (k, r) where e.tenant_id = '${IRONWORKS}';`)
  const { data } = await stack.client().auth.signInWithPassword({ email: 'hanna@ironworks.example', password: 'lyceum-demo' })
  const get = async (name, query, file) => {
    const r = await fetch(`${stack.API_URL}/functions/v1/reporting/${name}?${new URLSearchParams({ tenant_id: IRONWORKS, ...query })}`, { headers: { apikey: stack.ANON_KEY, authorization: `Bearer ${data.session.access_token}` } })
    const body = Buffer.from(await r.arrayBuffer())
    if (r.status !== 200) console.error(name, r.status, body.toString())
    await writeFile(`/tmp/w/pics/${file}`, body)
  }
  await get('completion-rate', { format: 'html' }, 'completion.html')
  await get('progress-summary', { format: 'html' }, 'progress.html')
  await get('enrollment-funnel', { format: 'html', locale: 'es' }, 'funnel.html')
  await get('training-matrix', { format: 'html' }, 'matrix.html')
  await get('due-training', { format: 'html', locale: 'de' }, 'due.html')
  await get('engagement', { format: 'html', step: 'week', last_days: '90' }, 'engagement.html')
  await get('cohort-retention', { format: 'html' }, 'retention.html')
  await get('most-missed-questions', { format: 'html' }, 'missed.html')
  await get('organization-overview', { format: 'html' }, 'overview.html')
  await get('lesson-drop-off', { format: 'html', course_id: courses[0].id }, 'dropoff.html')
  await get('learner-summary', { format: 'html', user_id: people.find((p) => p.people.display_name.startsWith('Lena')).user_id }, 'learner.html')
  await get('progress-summary', { format: 'svg' }, 'progress.svg')
  await get('training-matrix', { format: 'xlsx', locale: 'de' }, 'matrix.xlsx')
  await get('progress-summary', { format: 'xlsx', locale: 'de' }, 'progress.xlsx')
} finally { await stack.stop() }
