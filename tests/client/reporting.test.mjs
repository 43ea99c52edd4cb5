// Reports as their readers fetch them: in every form, in their language, and no more than their rights.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { strFromU8, unzipSync } from 'fflate'
import { readSheet } from 'read-excel-file/node'
import { startSandbox } from './sandbox.mjs'

const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
const HOSTILE = '=HYPERLINK("http://evil.example","<script>alert(1)</script>")'
const XLSX = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet'
const PEOPLE = ['lena', 'noah', 'mia', 'omar', 'ruth', 'tomas', 'wren', 'sam']

let stack, admin, base, courses, units
const tokens = {}

const ok = ({ data, error, status }) => {
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}

before(async () => {
  stack = await startSandbox({ seed: true, functions: true })
  admin = stack.client(stack.SERVICE_ROLE_KEY)
  base = `${stack.API_URL}/functions/v1/reporting`
  const lms = admin.schema('lms')
  units = Object.fromEntries(ok(await lms.from('org_units').select('id, name').eq('tenant_id', IRONWORKS)).map((unit) => [unit.name, unit.id]))
  const people = ok(await admin.schema('lms').from('memberships').select('user_id, unit_id, people(display_name)').eq('tenant_id', IRONWORKS))
  const learners = people.filter((one) => PEOPLE.some((name) => one.people?.display_name?.toLowerCase().startsWith(name)))
  assert.equal(learners.length, PEOPLE.length)
  courses = []
  for (const [place, title] of ['Lockout and tagout', HOSTILE, 'Working at heights'].entries()) {
    const course = ok(await lms.from('courses').insert({ tenant_id: IRONWORKS, slug: `report-${place}`, title, visibility: 'restricted', instructor_id: 'd0000000-0000-4000-8000-000000000004' }).select().single())
    const part = ok(await lms.from('modules').insert({ course_id: course.id, title: 'Only' }).select().single())
    ok(await lms.from('lessons').insert({ module_id: part.id, title: 'Only' }).select().single())
    ok(await lms.rpc('publish_course', { p_course_id: course.id }))
    courses.push(course)
  }
  // Completed long ago, half-way, and not begun. 23:30 UTC is the same day in the ironworks' zone, whichever it is.
  for (const [place, one] of learners.entries()) {
    for (const [at, course] of courses.entries()) {
      if ((place + at) % 4 === 3) continue
      const done = (place + at) % 4 === 0
      ok(await lms.from('enrollments').insert({
        course_id: course.id, user_id: one.user_id, source: 'import', unit_id: one.unit_id,
        enrolled_at: '2026-01-10T12:00:00Z',
        ...(done ? { status: 'completed', started_at: '2026-01-11T12:00:00Z', completed_at: '2026-02-01T12:30:00Z', items_total: 1, items_done: 1 } : {}),
      }))
    }
  }
})
after(() => stack?.stop())

async function token(name) {
  if (!tokens[name]) {
    const { data, error } = await stack.client().auth.signInWithPassword({ email: `${name}@ironworks.example`, password: 'lyceum-demo' })
    assert.equal(error, null)
    tokens[name] = data.session.access_token
  }
  return tokens[name]
}

async function get(name, path, query = {}, headers = {}) {
  const parameters = new URLSearchParams({ tenant_id: IRONWORKS, ...query })
  return fetch(`${base}${path}?${parameters}`, {
    headers: { apikey: stack.ANON_KEY, 'accept-encoding': 'identity', ...(name ? { authorization: `Bearer ${await token(name)}` } : {}), ...headers },
  })
}

async function catalogue(locale = 'en') {
  const answer = await fetch(`${base}?locale=${locale}`, { headers: { apikey: stack.ANON_KEY, authorization: `Bearer ${await token('hanna')}` } })
  assert.equal(answer.status, 200)
  return (await answer.json()).reports
}

test('the list says what each report counts, takes and holds', async () => {
  const reports = await catalogue('de')
  const rate = reports.find((report) => report.name === 'completion-rate')
  assert.equal(rate.title, 'Abschlussquote')
  assert.match(rate.counts, /abgeschlossen/)
  assert.deepEqual(rate.parameters.map((one) => one.name), ['tenant_id', 'unit_id', 'course_id', 'cohort_id', 'from', 'until', 'last_days'])
  assert.ok(rate.parameters[0].required)
  assert.deepEqual(rate.columns.map((one) => one.name), ['total_enrolled', 'completed', 'in_progress', 'not_started', 'completion_rate'])
})

test('every report is had in every one of its forms, by everybody who may read it', async () => {
  const types = { json: 'application/json', csv: 'text/csv', xlsx: XLSX, html: 'text/html', svg: 'image/svg+xml' }
  const exposed = await readFile(new URL('../../supabase/types.ts', import.meta.url), 'utf8')
  for (const report of await catalogue()) {
    if (!exposed.includes(` ${report.function.split('.')[1]}: {`)) continue
    for (const format of report.formats) {
      const query = { format, ...(report.name === 'lesson-drop-off' ? { course_id: courses[0].id } : {}) }
      const answer = await get('hanna', `/${report.name}`, query)
      const body = Buffer.from(await answer.arrayBuffer())
      assert.equal(answer.status, 200, `${report.name} ${format}: ${body.subarray(0, 500)}`)
      assert.ok(answer.headers.get('content-type').startsWith(types[format]), answer.headers.get('content-type'))
      assert.match(answer.headers.get('cache-control'), /^private/)
      assert.match(answer.headers.get('etag'), /^W\/"[\w-]{24}"$/)
      if (format === 'json') {
        const { columns, rows, row_count } = JSON.parse(body)
        assert.deepEqual(columns.map((one) => one.name), report.columns.map((one) => one.name))
        assert.equal(rows.length, row_count)
        for (const row of rows) assert.deepEqual(Object.keys(row), columns.map((one) => one.name))
      }
      if (format === 'html') {
        assert.match(answer.headers.get('content-security-policy'), /^default-src 'none'; style-src 'sha256-/)
        assert.ok(!/<script|style="|https?:\/\/(?!evil)/.test(body.toString()), report.name)
      }
    }
  }
})

test('numbers are the database\'s own', async () => {
  const { rows } = await (await get('hanna', '/progress-summary')).json()
  const client = stack.client()
  await client.auth.signInWithPassword({ email: 'hanna@ironworks.example', password: 'lyceum-demo' })
  const direct = ok(await client.schema('analytics').rpc('get_progress_summary', { p_tenant_id: IRONWORKS }))
  assert.deepEqual(rows, direct.map(({ cursor, ...row }) => row))
  assert.ok(rows.length >= 3)
})

test('pages are put together', async () => {
  const whole = await (await get('hanna', '/progress-summary')).json()
  const part = await (await get('hanna', '/progress-summary', { limit: 2 })).json()
  assert.equal(part.row_count, 2)
  assert.deepEqual(part.rows, whole.rows.slice(0, 2))
})

test('what somebody may not read is refused here as in the database', async () => {
  for (const [name, status, code] of [['lena', 403, 'report_not_allowed'], [null, 401, 'sign_in_required']]) {
    const answer = await get(name, '/completion-rate', { format: 'csv' })
    assert.equal(answer.status, status)
    assert.equal(answer.headers.get('content-type'), 'application/problem+json')
    assert.equal((await answer.json()).code, code)
  }
  // A unit's manager counts the people of the unit alone, and another organisation is none.
  const plant = await (await get('marco', '/completion-rate')).json()
  const whole = await (await get('hanna', '/completion-rate')).json()
  assert.ok(plant.rows[0].total_enrolled > 0 && plant.rows[0].total_enrolled < whole.rows[0].total_enrolled)
  const elsewhere = await (await get('marco', '/completion-rate', { unit_id: units['Harbor City'] })).json()
  assert.equal(elsewhere.rows[0].total_enrolled, 0)
  const foreign = await get('hanna', '/completion-rate', { tenant_id: crypto.randomUUID() })
  assert.equal(foreign.status, 403)
  // Learners read what is their own.
  const own = await (await get('lena', '/learner-summary')).json()
  assert.ok(own.rows.length > 0)
})

test('faults are told all at once, and what is not known is refused', async () => {
  const answer = await get('hanna', '/completion-rate', { from: '1.1.2026', states: 'due', format: 'pdf', unit_id: 'x' })
  assert.equal(answer.status, 422)
  const problem = await answer.json()
  assert.equal(problem.code, 'validation_failed')
  assert.deepEqual(problem.errors.map((error) => error.field).sort(), ['format', 'from', 'states', 'unit_id'])
  assert.equal((await get('hanna', '/no-such-report')).status, 404)
  const course = await get('hanna', '/lesson-drop-off')
  assert.deepEqual((await course.json()).errors.map((error) => error.field), ['course_id'])
})

test('the form follows Accept, the language Accept-Language', async () => {
  const answer = await get('hanna', '/completion-rate', {}, { accept: 'text/html,*/*;q=0.8', 'accept-language': 'es-MX, en;q=0.5' })
  assert.equal(answer.headers.get('content-language'), 'es')
  const page = await answer.text()
  assert.match(page, /<html lang="es">/)
  assert.match(page, /<h1>Tasa de finalización<\/h1>/)
  assert.match(page, /\d,\d\u00a0%/)
})

test('CSV reads back, and no field of it is a formula', async () => {
  const answer = await get('hanna', '/progress-summary', { format: 'csv', locale: 'de' })
  assert.match(answer.headers.get('content-disposition'), /^attachment; filename="progress-summary-\d{4}-\d\d-\d\d\.csv"$/)
  const lines = parseCsv(await answer.text())
  assert.deepEqual(lines[0], ['Kurs-ID', 'Kurs', 'Kurzname', 'Eingeschrieben', 'Mittlerer Fortschritt', 'Abgeschlossen', 'Abschlussquote'])
  const { rows } = await (await get('hanna', '/progress-summary')).json()
  assert.equal(lines.length, rows.length + 1)
  for (const [place, row] of rows.entries()) {
    const risky = row.title.startsWith('=')
    assert.equal(lines[place + 1][1], risky ? `'${row.title}` : row.title)
    assert.equal(Number(lines[place + 1][6]), row.completion_rate)
  }
  assert.ok(lines.flat().every((field) => !/^[=+@\t\r]/.test(field)))
  assert.ok(lines.flat().some((field) => field.startsWith("'=HYPERLINK")))
})

test('a spreadsheet has typed cells, a heading that stays, and filters', async () => {
  const answer = await get('hanna', '/progress-summary', { format: 'xlsx', locale: 'de' })
  const bytes = Buffer.from(await answer.arrayBuffer())
  const sheet = await readSheet(bytes)
  assert.deepEqual(sheet[0], ['Kurs', 'Kurzname', 'Eingeschrieben', 'Mittlerer Fortschritt', 'Abgeschlossen', 'Abschlussquote'])
  const { rows } = await (await get('hanna', '/progress-summary')).json()
  for (const [place, row] of rows.entries()) {
    const [title, , enrolled, , , rate] = sheet[place + 1]
    assert.equal(title, row.title)
    assert.equal(enrolled, row.total_enrolled)
    assert.ok(Math.abs(rate * 100 - row.completion_rate) < 1e-9)
  }
  const about = await readSheet(bytes, 2)
  assert.ok(about.some(([name, value]) => name === 'Was gezählt wird' && /Durchläufe/.test(value)))
  const xml = strFromU8(unzipSync(bytes)['xl/worksheets/sheet1.xml'])
  assert.match(xml, /<pane ySplit="1"[^>]*state="frozen"/)
  assert.match(xml, new RegExp(`<autoFilter ref="A1:F${rows.length + 1}"`))
  assert.ok(!xml.includes('<f>'), 'no formulas')

  // Dates are dates, on the organisation's clock.
  const own = await readSheet(Buffer.from(await (await get('hanna', '/learner-summary', { format: 'xlsx', user_id: await userId('lena') })).arrayBuffer()))
  const completed = own.slice(1).map((row) => row[own[0].indexOf('Completed on')]).filter(Boolean)
  assert.ok(completed.length > 0 && completed.every((at) => at instanceof Date), String(completed))
})

async function userId(name) {
  const claims = JSON.parse(Buffer.from((await token(name)).split('.')[1], 'base64url'))
  return claims.sub
}

test('a chart stands alone, and says in words what it shows', async () => {
  const answer = await get('hanna', '/progress-summary', {}, { accept: 'image/svg+xml' })
  const svg = await answer.text()
  assert.match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"[^>]*role="img" aria-labelledby="chart-title chart-words"/)
  assert.match(svg, /<desc id="chart-words">Completion rate\. /)
  assert.ok(svg.includes('=HYPERLINK(&quot;http://evil.example&quot;,&quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;)'))
  assert.ok(!svg.includes('<script'))
  const none = await get('hanna', '/learner-timeline', { format: 'svg' })
  assert.equal(none.status, 422)
})

test('what has not changed is not sent again', async () => {
  for (const format of ['json', 'csv', 'xlsx', 'html', 'svg']) {
    const first = await get('hanna', '/progress-summary', { format })
    const tag = first.headers.get('etag')
    const second = await get('hanna', '/progress-summary', { format }, { 'if-none-match': tag })
    assert.equal(second.status, 304, format)
    assert.equal(await second.text(), '')
    assert.equal(second.headers.get('etag'), tag)
    // To others it is something else.
    const other = await get('marco', '/progress-summary', { format }, { 'if-none-match': tag })
    assert.equal(other.status, 200)
  }
  const german = await get('hanna', '/progress-summary', { locale: 'de' })
  assert.notEqual(german.headers.get('etag'), (await get('hanna', '/progress-summary', { locale: 'en' })).headers.get('etag'))
})

test('answers are compressed for those who take that', async () => {
  const plain = await (await get('hanna', '/progress-summary', { format: 'csv' })).text()
  // fetch unpacks by itself, so that the packed bytes are seen through http alone.
  const { request } = await import('node:http')
  const url = new URL(`${base}/progress-summary?${new URLSearchParams({ tenant_id: IRONWORKS, format: 'csv' })}`)
  const authorization = `Bearer ${await token('hanna')}`
  const packed = await new Promise((resolve, reject) => {
    request(url, { headers: { apikey: stack.ANON_KEY, authorization, 'accept-encoding': 'gzip' } }, (answer) => {
      const pieces = []
      answer.on('data', (piece) => pieces.push(piece)).on('end', () => resolve({ headers: answer.headers, body: Buffer.concat(pieces) }))
    }).on('error', reject).end()
  })
  assert.equal(packed.headers['content-encoding'], 'gzip')
  assert.equal(gunzipSync(packed.body).toString(), plain)
})

test('HEAD answers as GET does, without a body', async () => {
  const answer = await fetch(`${base}/completion-rate?tenant_id=${IRONWORKS}&format=csv`, {
    method: 'HEAD', headers: { apikey: stack.ANON_KEY, authorization: `Bearer ${await token('hanna')}` },
  })
  assert.equal(answer.status, 200)
  assert.equal(await answer.text(), '')
})

/** RFC 4180, as strictly as it is short. */
function parseCsv(text) {
  const lines = []
  let line = []
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    line.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'))
    if (end !== ',') {
      lines.push(line)
      line = []
    }
  }
  return lines.filter((fields) => fields.length > 1)
}
