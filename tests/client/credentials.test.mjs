// Certificates as those who are shown them meet them: a page, a PDF, and a signed Open Badges 3.0 credential that is verified
// by a library that is not ours.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import { startSandbox } from './sandbox.mjs'

let sandbox, admin, base, learner
const NAME = 'Zoë <script>alert(1)</script> & "Łukasz"'

before(async () => {
  sandbox = await startSandbox({ functions: true })
  admin = sandbox.client(sandbox.SERVICE_ROLE_KEY)
  base = `${sandbox.API_URL}/functions/v1/credentials`
  learner = await completed()
})
after(() => sandbox?.stop())

const ok = ({ data, error }) => {
  assert.equal(error, null, JSON.stringify(error))
  return data
}

/** A person who has completed a course of their own, with the certificate that they see of it. */
async function completed(course = {}, name = NAME) {
  const tag = Math.random().toString(36).slice(2)
  const email = `${tag}@credentials.example`
  const { data: { user }, error } = await admin.auth.admin.createUser({
    email, password: 'correct horse battery', email_confirm: true, user_metadata: { first_name: name },
  })
  assert.equal(error, null)
  const lms = admin.schema('lms')
  const tenant = ok(await lms.from('tenants').insert({ slug: `works-${tag}`, name: 'Works & Sons' }).select().single())
  ok(await lms.from('memberships').insert({ tenant_id: tenant.id, user_id: user.id }))
  const made = ok(await lms.from('courses').insert({
    tenant_id: tenant.id, slug: 'safety', title: 'Safety <i>first</i>', instructor_id: user.id, certificate_validity_months: 36, ...course,
  }).select().single())
  const part = ok(await lms.from('modules').insert({ course_id: made.id, title: 'Only' }).select().single())
  const lesson = ok(await lms.from('lessons').insert({ module_id: part.id, title: 'Only' }).select().single())
  ok(await lms.rpc('publish_course', { p_course_id: made.id }))
  const client = sandbox.client()
  ok(await client.auth.signInWithPassword({ email, password: 'correct horse battery' }))
  ok(await client.schema('lms').rpc('enroll', { p_course_id: made.id }))
  ok(await client.schema('lms').rpc('complete_lesson', { p_lesson_id: lesson.id }))
  const certificate = ok(await client.schema('lms').from('certificates').select('*').single())
  return { client, certificate, user, tenant, course: made }
}

// Nothing but the address, as in a QR code: no key, no token.
const get = (code, format, headers = {}) =>
  fetch(`${base}/${code}${format ? `?format=${format}` : ''}`, { headers })

const jwks = () => createRemoteJWKSet(new URL(`${base}/jwks.json`))

test('the page shows what a verifier needs, and nothing else', async () => {
  const { certificate, user, tenant, course } = learner
  const answer = await get(certificate.code, null, { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' })
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type'), /^text\/html/)
  assert.match(answer.headers.get('content-security-policy'), /^default-src 'none'; style-src 'sha256-/)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  const page = await answer.text()
  assert.match(page, /<strong>Valid\.<\/strong>/)
  assert.match(page, /Zoë &lt;script&gt;alert\(1\)&lt;\/script&gt; &amp; &quot;Łukasz&quot;/)
  assert.match(page, /Works &amp; Sons/)
  assert.ok(!/<script|<i>|javascript:|@credentials\.example/.test(page))
  for (const id of [certificate.id, certificate.enrollment_id, user.id, tenant.id, course.id]) assert.ok(!page.includes(id))
})

test('codes are read as people type them', async () => {
  const typed = learner.certificate.code.toLowerCase().replace(/(.{5})/g, '$1-')
  const told = await (await get(typed, 'json')).json()
  assert.equal(told.serial, learner.certificate.serial)
  assert.equal(told.status, 'valid')
})

test('what is no certificate is not found, in the form that was asked for', async () => {
  for (const code of ['0'.repeat(26), 'nonsense', 'x'.repeat(100)]) {
    const page = await get(code, null, { accept: 'text/html' })
    assert.equal(page.status, 404)
    assert.match(await page.text(), /There is no certificate with this code/)
    const problem = await get(code, 'jwt')
    assert.equal(problem.status, 404)
    assert.equal((await problem.json()).code, 'certificate_not_found')
  }
  assert.equal((await get(learner.certificate.code, 'docx')).status, 422)
  assert.equal((await get(`${learner.certificate.code}/x`)).status, 404)
})

test('the PDF is one and leads back here', async () => {
  const answer = await get(learner.certificate.code, null, { accept: 'application/pdf' })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/pdf')
  const bytes = Buffer.from(await answer.arrayBuffer())
  assert.equal(bytes.subarray(0, 5).toString(), '%PDF-')
  assert.ok(bytes.includes('%%EOF'))
  assert.ok(bytes.includes(`${base}/${learner.certificate.code}`))
})

test('a verifier that is not ours accepts the credential', async () => {
  const answer = await get(learner.certificate.code, null, { accept: 'application/vc+jwt' })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/vc+jwt')
  const token = await answer.text()
  const { payload, protectedHeader } = await jwtVerify(token, jwks(), { algorithms: ['ES256'] })
  assert.equal(protectedHeader.typ, 'JWT')
  // The key's name is the key's address.
  const key = await (await fetch(protectedHeader.kid)).json()
  assert.equal(key.kid, protectedHeader.kid)
  assert.equal(key.d, undefined)
  // What Open Badges 3.0 asks of a credential and its token.
  const id = `${base}/${learner.certificate.code}`
  assert.equal(payload['@context'][0], 'https://www.w3.org/ns/credentials/v2')
  assert.match(payload['@context'][1], /^https:\/\/purl\.imsglobal\.org\/spec\/ob\/v3p0\/context-3/)
  assert.deepEqual(payload.type, ['VerifiableCredential', 'OpenBadgeCredential'])
  assert.equal(payload.id, id)
  assert.equal(payload.jti, id)
  assert.equal(payload.iss, payload.issuer.id)
  assert.equal(payload.issuer.name, 'Works & Sons')
  assert.equal(payload.sub, payload.credentialSubject.id)
  assert.equal(payload.nbf, Math.floor(Date.parse(payload.validFrom) / 1000))
  assert.equal(payload.exp, Math.floor(Date.parse(payload.validUntil) / 1000))
  assert.equal(payload.exp, Math.floor(Date.parse(learner.certificate.expires_at) / 1000))
  const { achievement, identifier } = payload.credentialSubject
  assert.equal(identifier[0].identityHash, NAME)
  for (const part of ['id', 'type', 'name', 'description', 'criteria']) assert.ok(achievement[part], part)
  assert.ok(!JSON.stringify(payload).includes(learner.user.id))
  // Not revoked, says the list that the credential names.
  const list = await (await fetch(payload.credentialStatus.id)).json()
  assert.deepEqual(list.revokedCredential, [])
  assert.equal(list.issuer, payload.iss)
})

test('one changed byte is refused', async () => {
  const token = await (await get(learner.certificate.code, 'jwt')).text()
  const keys = jwks()
  await jwtVerify(token, keys)
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  // In the header, the claims and the signature; the last letter of a part may hold bits that mean nothing.
  for (let at = 0; at < token.length; at += 7) {
    if (token[at] === '.' || token[at + 1] === '.' || at === token.length - 1) continue
    const other = ALPHABET[(ALPHABET.indexOf(token[at]) + 1) % 64]
    await assert.rejects(jwtVerify(token.slice(0, at) + other + token.slice(at + 1), keys), errors.JOSEError, `at ${at}`)
  }
  const [, claims, signature] = token.split('.')
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  await assert.rejects(jwtVerify(`${none}.${claims}.${signature}`, keys))
  await assert.rejects(jwtVerify(`${none}.${claims}.`, keys))
})

test('what has expired is refused, by verifiers and here', async () => {
  const token = await (await get(learner.certificate.code, 'jwt')).text()
  const later = new Date(Date.parse(learner.certificate.expires_at) + 1000)
  await assert.rejects(jwtVerify(token, jwks(), { currentDate: later }), errors.JWTExpired)

  const old = await completed({}, 'Olga')
  const lms = admin.schema('lms')
  const enrolled = ok(await lms.from('enrollments').insert({
    course_id: old.course.id, user_id: old.user.id, source: 'import', status: 'completed',
    enrolled_at: '2019-01-01T00:00:00Z', started_at: '2019-01-01T00:00:00Z', completed_at: '2019-01-02T00:00:00Z', items_total: 1, items_done: 1,
  }).select().single())
  const { code } = ok(await lms.from('certificates').select('code').eq('enrollment_id', enrolled.id).single())
  const refused = await get(code, 'jwt')
  assert.equal(refused.status, 410)
  assert.equal((await refused.json()).code, 'certificate_expired')
  assert.match(await (await get(code)).text(), /<strong>Expired\.<\/strong>/)
  assert.equal((await get(code, 'pdf')).status, 200)
})

test('what was revoked is refused everywhere', async () => {
  const { certificate } = await completed({}, 'Rita')
  const token = await (await get(certificate.code, 'jwt')).text()
  ok(await admin.schema('lms').rpc('revoke_certificate', { p_certificate_id: certificate.id, p_reason: 'Cheated in secret' }))
  const page = await (await get(certificate.code)).text()
  assert.match(page, /<strong>Revoked\.<\/strong>/)
  assert.ok(!page.includes('Cheated'))
  for (const format of ['jwt', 'pdf']) {
    const refused = await get(certificate.code, format)
    assert.equal(refused.status, 410)
    assert.equal((await refused.json()).code, 'certificate_revoked')
  }
  // The credential that was handed out before: its signature stays good, and its own list says that it does not hold.
  const { payload } = await jwtVerify(token, jwks())
  const list = await (await fetch(payload.credentialStatus.id)).json()
  assert.deepEqual(list.revokedCredential, [{ id: payload.id, revoked: true }])
})

test('health and description are there', async () => {
  const health = await (await fetch(`${base}/health`)).json()
  assert.equal(health.status, 'ok')
  const document = await (await fetch(`${base}/openapi.json`)).json()
  assert.deepEqual(Object.keys(document.paths).sort(), ['/credentials/jwks.json', '/credentials/keys/{thumbprint}', '/credentials/{code}'])
  assert.equal(decodeProtectedHeader(await (await get(learner.certificate.code, 'jwt')).text()).alg, 'ES256')
})
