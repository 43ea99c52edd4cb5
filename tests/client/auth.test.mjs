// The auth stand-in as an unmodified supabase-js meets it, and as hostile clients do.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, createHmac, createPublicKey, randomUUID, verify as verifySignature } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

const PASSWORD = 'correct horse battery'

let stack
let admin
before(async () => {
  stack = await startSandbox()
  admin = stack.client(stack.SERVICE_ROLE_KEY).auth.admin
})
after(() => stack.stop())

const address = (name = 'user') => `${name}-${randomUUID()}@example.com`

/** Asserts that a supabase-js call succeeded, and returns its data. */
function ok({ data, error }) {
  assert.equal(error, null, error ? `${error.code}: ${error.message}` : '')
  return data
}

/** Asserts that a supabase-js call failed in the given way. */
function fails({ error }, code, status) {
  assert.ok(error, `expected the error ${code}, got success`)
  assert.equal(error.code, code, error.message)
  if (status) assert.equal(error.status, status)
  return error
}

/** A client with a fresh account. */
async function member(options) {
  const client = stack.client()
  const email = address()
  const { user, session } = ok(await client.auth.signUp({ email, password: PASSWORD, options }))
  return { client, email, user, session }
}

function sql(statement) {
  return execFileSync('psql', ['-qXAt', '-v', 'ON_ERROR_STOP=1', '-d', stack.DB_URL, '-c', statement], {
    encoding: 'utf8'
  }).trim()
}

/** The mails to an address, oldest first. */
function mails(to, type) {
  return readdirSync(stack.MAIL_DIR)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(stack.MAIL_DIR, name), 'utf8')))
    .filter((mail) => mail.to === to && (!type || mail.type === type))
}

function mail(to, type) {
  const found = mails(to, type)
  assert.ok(found.length > 0, `no ${type} mail to ${to}`)
  return found.at(-1)
}

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))

/** A request without supabase-js. */
async function raw(method, path, { body, token, headers = {}, redirect } = {}) {
  const response = await fetch(`${stack.API_URL}/auth/v1${path}`, {
    method,
    redirect,
    body: body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    headers: {
      apikey: stack.ANON_KEY,
      'content-type': 'application/json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...headers
    }
  })
  const text = await response.text()
  let json
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: response.status, headers: response.headers, json, text }
}

/** Follows a mailed link as a browser would, and returns the place it leads to. */
async function open(link) {
  const response = await fetch(link, { redirect: 'manual' })
  assert.equal(response.status, 303)
  const target = new URL(response.headers.get('location'))
  return { target, fragment: new URLSearchParams(target.hash.slice(1)) }
}

describe('signUp', () => {
  test('gives a session, and a token with exactly the claims of Supabase', async () => {
    const { user, session, email } = await member({ data: { full_name: 'Ann Lee', locale: 'en' } })
    assert.equal(user.email, email)
    assert.equal(user.role, 'authenticated')
    assert.ok(user.email_confirmed_at)
    assert.equal(user.user_metadata.full_name, 'Ann Lee')
    assert.deepEqual(user.app_metadata, { provider: 'email', providers: ['email'] })
    assert.equal(user.identities.length, 1)
    assert.equal(user.identities[0].provider, 'email')
    assert.equal(session.token_type, 'bearer')
    assert.ok(session.expires_in > 0)

    const claims = claimsOf(session.access_token)
    assert.deepEqual(
      Object.keys(claims).sort(),
      [
        'aal', 'amr', 'app_metadata', 'aud', 'email', 'exp', 'iat', 'is_anonymous', 'iss', 'phone', 'role',
        'session_id', 'sub', 'user_metadata'
      ]
    )
    assert.equal(claims.iss, `${stack.API_URL}/auth/v1`)
    assert.equal(claims.aud, 'authenticated')
    assert.equal(claims.role, 'authenticated')
    assert.equal(claims.sub, user.id)
    assert.equal(claims.aal, 'aal1')
    assert.equal(claims.amr[0].method, 'password')
    assert.equal(claims.is_anonymous, false)
    assert.equal(claims.user_metadata.full_name, 'Ann Lee')
  })

  test('tokens are verified by the published key set, which has no private part', async () => {
    const { client, session } = await member()
    const { keys } = (await raw('GET', '/.well-known/jwks.json')).json
    const [head, body, signature] = session.access_token.split('.')
    const { kid, alg } = JSON.parse(Buffer.from(head, 'base64url'))
    const jwk = keys.find((key) => key.kid === kid)
    assert.equal(alg, 'ES256')
    assert.equal(jwk.d, undefined)
    const key = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }
    assert.ok(verifySignature('sha256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url')))
    assert.equal(ok(await client.auth.getClaims()).claims.sub, session.user.id)
  })

  test('an address is taken once, whatever its case', async () => {
    const { email } = await member()
    const again = await stack.client().auth.signUp({ email: email.toUpperCase(), password: PASSWORD })
    fails(again, 'user_already_exists', 422)
  })

  test('of simultaneous sign-ups with one address one wins', async () => {
    const email = address()
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => stack.client().auth.signUp({ email, password: PASSWORD }))
    )
    assert.equal(answers.filter((answer) => !answer.error).length, 1)
    for (const answer of answers.filter((answer) => answer.error)) fails(answer, 'user_already_exists', 422)
  })

  test('weak passwords and bad addresses are refused', async () => {
    const { auth } = stack.client()
    fails(await auth.signUp({ email: address(), password: '12345' }), 'weak_password', 422)
    fails(await auth.signUp({ email: address(), password: 'x'.repeat(73) }), 'validation_failed', 400)
    fails(await auth.signUp({ email: address(), password: '' }), 'validation_failed', 400)
    fails(await auth.signUp({ email: 'nobody', password: PASSWORD }), 'validation_failed', 400)
    fails(await auth.signUp({ email: 'a@b.c\r\nBcc: x@y.z', password: PASSWORD }), 'validation_failed', 400)
    fails(await auth.signUp({ email: `${'a'.repeat(300)}@example.com`, password: PASSWORD }), 'validation_failed', 400)
    fails(await auth.signUp({ phone: '+447700900123', password: PASSWORD }), 'phone_provider_disabled', 400)
    fails(await auth.signInAnonymously(), 'anonymous_provider_disabled', 422)
  })

  test('a failing trigger on auth.users leaves nothing behind', async () => {
    sql(`create schema if not exists auth_test;
         create or replace function auth_test.refuse() returns trigger language plpgsql security definer as
           $$ begin if new.email like 'refused-%' then raise exception 'no'; end if; return new; end $$;
         create trigger refuse after insert on auth.users for each row execute function auth_test.refuse()`)
    const email = address('refused')
    const answer = await raw('POST', '/signup', { body: { email, password: PASSWORD } })
    assert.equal(answer.status, 500)
    assert.deepEqual(answer.json, {
      code: 500, error_code: 'unexpected_failure', msg: 'Database error saving new user'
    })
    const byAdmin = await admin.createUser({ email, password: PASSWORD })
    assert.match(byAdmin.error.message, /Database error saving new user/)
    sql('drop schema auth_test cascade')
    assert.equal(sql(`select count(*) from auth.identities where email = '${email}'`), '0')
    ok(await stack.client().auth.signUp({ email, password: PASSWORD }))
  })
})

describe('signInWithPassword', () => {
  test('opens a session; the address may be in any case', async () => {
    const { email, user } = await member()
    const signedIn = ok(await stack.client().auth.signInWithPassword({ email: email.toUpperCase(), password: PASSWORD }))
    assert.equal(signedIn.user.id, user.id)
    assert.ok(signedIn.user.last_sign_in_at)
  })

  test('a wrong password and an unknown address look alike, and take alike', async () => {
    const { email } = await member()
    const attempt = async (credentials) => {
      const began = performance.now()
      const error = fails(await stack.client().auth.signInWithPassword(credentials), 'invalid_credentials', 400)
      return { message: error.message, took: performance.now() - began }
    }
    const wrong = await attempt({ email, password: 'wrong password' })
    const unknown = await attempt({ email: address(), password: PASSWORD })
    assert.equal(wrong.message, unknown.message)
    assert.ok(unknown.took > wrong.took / 5, `${unknown.took} ms for an unknown address, ${wrong.took} ms otherwise`)
    await attempt({ email, password: 'x'.repeat(100_000) })
    await attempt({ email: "' or 1=1 --", password: PASSWORD })
  })

  test('users that SQL seeds with pgcrypto sign in', async () => {
    const email = address('seeded')
    sql(`insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at)
         values ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated', '${email}',
                 extensions.crypt('${PASSWORD}', extensions.gen_salt('bf')), now())`)
    const { session } = ok(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }))
    assert.deepEqual(claimsOf(session.access_token).user_metadata, {})
  })

  test('pgcrypto checks the passwords that we store', async () => {
    const { email } = await member()
    const stored = `select encrypted_password = extensions.crypt('${PASSWORD}', encrypted_password) from auth.users`
    assert.equal(sql(`${stored} where email = '${email}'`), 't')
  })
})

describe('refreshSession', () => {
  const refresh = (token) => raw('POST', '/token?grant_type=refresh_token', { body: { refresh_token: token } })
  const age = (token) =>
    sql(`update auth.refresh_tokens set updated_at = now() - interval '1 hour' where token = '${token}'`)

  test('rotates the token and keeps the session', async () => {
    const { client, session } = await member()
    const refreshed = ok(await client.auth.refreshSession()).session
    assert.notEqual(refreshed.refresh_token, session.refresh_token)
    assert.equal(claimsOf(refreshed.access_token).session_id, claimsOf(session.access_token).session_id)
    assert.equal(claimsOf(refreshed.access_token).amr[0].method, 'password')
    ok(await client.auth.getUser())
  })

  test('simultaneous refreshes with one token all get the same new token', async () => {
    const { session } = await member()
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(session.refresh_token)))
    assert.deepEqual(answers.map((answer) => answer.status), Array(8).fill(200))
    assert.equal(new Set(answers.map((answer) => answer.json.refresh_token)).size, 1)
    assert.notEqual(answers[0].json.refresh_token, session.refresh_token)
  })

  test('a used token yields the active one for a moment', async () => {
    const { session } = await member()
    const first = (await refresh(session.refresh_token)).json
    const second = (await refresh(first.refresh_token)).json
    assert.equal((await refresh(session.refresh_token)).json.refresh_token, second.refresh_token)
  })

  test('a used token presented late revokes the session', async () => {
    const { client, session } = await member()
    const current = ok(await client.auth.refreshSession()).session
    age(session.refresh_token)
    const stolen = await refresh(session.refresh_token)
    assert.equal(stolen.status, 400)
    assert.equal(stolen.json.error_code, 'refresh_token_already_used')
    fails(await client.auth.refreshSession({ refresh_token: current.refresh_token }), 'refresh_token_already_used', 400)
  })

  test('unknown, signed-out and banned tokens are refused', async () => {
    assert.equal((await refresh('nonsense')).json.error_code, 'refresh_token_not_found')
    assert.equal((await refresh('x'.repeat(10_000))).json.error_code, 'refresh_token_not_found')
    assert.equal((await refresh('')).json.error_code, 'validation_failed')
    const { client, session, user } = await member()
    ok(await admin.updateUserById(user.id, { ban_duration: '24h' }))
    assert.equal((await refresh(session.refresh_token)).json.error_code, 'user_banned')
    ok(await admin.updateUserById(user.id, { ban_duration: 'none' }))
    ok(await client.auth.signOut())
    assert.equal((await refresh(session.refresh_token)).json.error_code, 'refresh_token_not_found')
  })
})

describe('getUser and updateUser', () => {
  test('user_metadata is the user\'s own: keys merge, null removes', async () => {
    const { client } = await member({ data: { full_name: 'Ann', nickname: 'A' } })
    const { user } = ok(await client.auth.updateUser({ data: { nickname: null, theme: 'dark' } }))
    assert.equal(user.user_metadata.full_name, 'Ann')
    assert.equal(user.user_metadata.theme, 'dark')
    assert.ok(!('nickname' in user.user_metadata))
    assert.deepEqual(ok(await client.auth.getUser()).user.user_metadata, user.user_metadata)
    const { session } = ok(await client.auth.refreshSession())
    assert.equal(claimsOf(session.access_token).user_metadata.theme, 'dark')
  })

  test('nobody makes himself an administrator', async () => {
    const { client, session } = await member({ data: { role: 'service_role' } })
    fails(await client.auth.updateUser({ app_metadata: { role: 'admin' } }), 'not_admin', 403)
    ok(await client.auth.updateUser({ role: 'service_role', aud: 'x', id: randomUUID(), data: { app_metadata: 1 } }))
    const { user } = ok(await client.auth.getUser())
    assert.equal(user.role, 'authenticated')
    assert.deepEqual(user.app_metadata, { provider: 'email', providers: ['email'] })
    const signUp = await raw('POST', '/signup', {
      body: { email: address(), password: PASSWORD, role: 'service_role', app_metadata: { admin: true } }
    })
    assert.equal(signUp.json.user.role, 'authenticated')
    assert.equal(signUp.json.user.app_metadata.admin, undefined)
    for (const [method, path] of [['GET', '/admin/users'], ['POST', '/admin/users'], ['POST', '/invite']]) {
      const answer = await raw(method, path, { token: session.access_token, body: method === 'POST' ? {} : undefined })
      assert.equal(answer.status, 403)
      assert.equal(answer.json.error_code, 'not_admin')
      assert.equal((await raw(method, path, { token: stack.ANON_KEY, body: method === 'POST' ? {} : undefined })).status, 403)
    }
  })

  test('a new password ends the other sessions', async () => {
    const { client, email } = await member()
    const other = stack.client()
    ok(await other.auth.signInWithPassword({ email, password: PASSWORD }))
    fails(await client.auth.updateUser({ password: PASSWORD }), 'same_password', 422)
    fails(await client.auth.updateUser({ password: '123' }), 'weak_password', 422)
    ok(await client.auth.updateUser({ password: 'another password' }))
    ok(await client.auth.getUser())
    assert.match((await other.auth.getUser()).error.name, /AuthSessionMissingError/)
    fails(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials')
    ok(await stack.client().auth.signInWithPassword({ email, password: 'another password' }))
  })

  test('reauthenticate mails a nonce that works once', async () => {
    const { client, email } = await member()
    ok(await client.auth.reauthenticate())
    const { token, link } = mail(email, 'reauthentication')
    assert.equal(link, null)
    const wrong = token === '000000' ? '000001' : '000000'
    fails(await client.auth.updateUser({ password: 'second password', nonce: wrong }), 'reauthentication_not_valid', 422)
    ok(await client.auth.updateUser({ password: 'second password', nonce: token }))
    fails(await client.auth.updateUser({ password: 'third password', nonce: token }), 'reauthentication_not_valid', 422)
  })

  test('a new address counts after both mails are answered', async () => {
    const { client, email } = await member()
    const wanted = address('new')
    const { user } = ok(await client.auth.updateUser({ email: wanted }))
    assert.equal(user.email, email)
    assert.equal(user.new_email, wanted)

    const old = ok(await stack.client().auth.verifyOtp({ email, token: mail(email, 'email_change').token, type: 'email_change' }))
    assert.equal(old.session, null)
    assert.equal(ok(await client.auth.getUser()).user.email, email)
    const confirmed = ok(
      await stack.client().auth.verifyOtp({ token_hash: mail(wanted, 'email_change').token_hash, type: 'email_change' })
    )
    assert.equal(confirmed.user.email, wanted)
    assert.equal(confirmed.user.identities[0].identity_data.email, wanted)
    ok(await stack.client().auth.signInWithPassword({ email: wanted, password: PASSWORD }))
    fails(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials')
  })

  test('an address of somebody else is refused', async () => {
    const { email } = await member()
    const { client } = await member()
    fails(await client.auth.updateUser({ email }), 'email_exists', 422)
  })

  test('bad tokens are refused', async () => {
    const { session, user } = await member()
    const [head, body, signature] = session.access_token.split('.')
    const other = claimsOf(session.access_token)
    const tampered = `${head}.${Buffer.from(JSON.stringify({ ...other, role: 'service_role' })).toString('base64url')}.${signature}`
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`
    const sign = (claims, secret) => {
      const content = `${Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
      return `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`
    }
    const later = Math.floor(Date.now() / 1000) + 600
    const { keys } = (await raw('GET', '/.well-known/jwks.json')).json
    const forged = sign({ sub: user.id, role: 'service_role', exp: later }, keys[0].x)
    const expired = sign({ sub: user.id, role: 'service_role', exp: later - 1200 }, stack.JWT_SECRET)
    for (const token of [tampered, none, forged, expired, 'x', 'a.b.c', `${session.access_token}x`]) {
      for (const path of ['/user', '/admin/users']) {
        const answer = await raw('GET', path, { token })
        assert.ok([401, 403].includes(answer.status), `${answer.status} ${token}`)
      }
    }
    assert.equal((await raw('GET', '/user', { token: stack.SERVICE_ROLE_KEY })).json.error_code, 'bad_jwt')
    const badSubject = await raw('GET', '/user', { token: sign({ sub: 'me', role: 'authenticated', exp: later }, stack.JWT_SECRET) })
    assert.ok(badSubject.status >= 400 && badSubject.status < 500)
  })
})

describe('signOut', () => {
  const gone = async (client) => assert.match((await client.auth.getUser()).error?.name ?? '', /AuthSessionMissingError/)
  async function twoDevices() {
    const { client: phone, email } = await member()
    const laptop = stack.client()
    ok(await laptop.auth.signInWithPassword({ email, password: PASSWORD }))
    return { phone, laptop }
  }
  const token = async (client) => ok(await client.auth.getSession()).session.access_token
  const exists = async (accessToken) => (await raw('GET', '/user', { token: accessToken })).json.error_code !== 'session_not_found'

  test('local ends this session', async () => {
    const { phone, laptop } = await twoDevices()
    const [onPhone, onLaptop] = [await token(phone), await token(laptop)]
    assert.equal((await phone.auth.signOut({ scope: 'local' })).error, null)
    assert.equal(await exists(onPhone), false)
    assert.equal(await exists(onLaptop), true)
  })

  test('others ends the rest', async () => {
    const { phone, laptop } = await twoDevices()
    assert.equal((await phone.auth.signOut({ scope: 'others' })).error, null)
    ok(await phone.auth.getUser())
    await gone(laptop)
  })

  test('global, the default, ends all', async () => {
    const { phone, laptop } = await twoDevices()
    assert.equal((await phone.auth.signOut()).error, null)
    await gone(laptop)
  })

  test('an administrator signs a user out', async () => {
    const { client, session } = await member()
    assert.equal((await admin.signOut(session.access_token, 'global')).error, null)
    const answer = await raw('GET', '/user', { token: session.access_token })
    assert.equal(answer.status, 403)
    assert.equal(answer.json.error_code, 'session_not_found')
    await gone(client)
    assert.equal((await raw('POST', '/logout?scope=everything', { token: (await member()).session.access_token })).status, 400)
  })
})

describe('mailed links', () => {
  test('resetPasswordForEmail: the code opens a session that sets a new password', async () => {
    const { email } = await member()
    ok(await stack.client().auth.resetPasswordForEmail(email, { redirectTo: 'http://localhost:5173/reset' }))
    const sent = mail(email, 'recovery')
    assert.ok(sent.link.startsWith(`${stack.API_URL}/auth/v1/verify?token=${sent.token_hash}&type=recovery&redirect_to=`))

    const client = stack.client()
    const wrong = sent.token === '000000' ? '000001' : '000000'
    fails(await client.auth.verifyOtp({ email, token: wrong, type: 'recovery' }), 'otp_expired', 403)
    const { session } = ok(await client.auth.verifyOtp({ email, token: sent.token, type: 'recovery' }))
    assert.equal(claimsOf(session.access_token).amr[0].method, 'otp')
    ok(await client.auth.updateUser({ password: 'a new password' }))
    ok(await stack.client().auth.signInWithPassword({ email, password: 'a new password' }))
    fails(await stack.client().auth.verifyOtp({ email, token: sent.token, type: 'recovery' }), 'otp_expired', 403)
  })

  test('following the link leads to the application with the session in the fragment', async () => {
    const { email } = await member()
    ok(await stack.client().auth.resetPasswordForEmail(email, { redirectTo: 'http://localhost:5173/reset?x=1' }))
    const { link } = mail(email, 'recovery')
    const { target, fragment } = await open(link)
    assert.equal(target.origin + target.pathname + target.search, 'http://localhost:5173/reset?x=1')
    assert.equal(fragment.get('type'), 'recovery')
    const client = stack.client()
    const tokens = { access_token: fragment.get('access_token'), refresh_token: fragment.get('refresh_token') }
    assert.equal(ok(await client.auth.setSession(tokens)).user.email, email)

    const again = await open(link)
    assert.equal(again.fragment.get('error'), 'access_denied')
    assert.equal(again.fragment.get('error_code'), 'otp_expired')
    assert.equal(again.fragment.get('access_token'), null)
  })

  test('a link never leads to a foreign site', async () => {
    const { email } = await member()
    for (const foreign of ['https://evil.example/', 'javascript:alert(1)', '//evil.example', 'http://127.0.0.1@evil.example/']) {
      ok(await stack.client().auth.resetPasswordForEmail(email, { redirectTo: foreign }))
      const link = new URL(mail(email, 'recovery').link)
      assert.ok(!link.searchParams.get('redirect_to').includes('evil'))
      link.searchParams.set('redirect_to', foreign)
      const { target } = await open(link)
      assert.ok(!target.host.includes('evil') && target.protocol.startsWith('http'), target.href)
    }
  })

  test('of two people with one code one wins', async () => {
    const { email } = await member()
    ok(await stack.client().auth.resetPasswordForEmail(email))
    const { token } = mail(email, 'recovery')
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => stack.client().auth.verifyOtp({ email, token, type: 'recovery' }))
    )
    assert.equal(answers.filter((answer) => !answer.error).length, 1)
  })

  test('a code expires after an hour', async () => {
    const { email, user } = await member()
    ok(await stack.client().auth.resetPasswordForEmail(email))
    sql(`update auth.one_time_tokens set created_at = created_at - interval '61 minutes' where user_id = '${user.id}'`)
    fails(await stack.client().auth.verifyOtp({ email, token: mail(email).token, type: 'recovery' }), 'otp_expired', 403)
  })

  test('nobody learns from resetPasswordForEmail who has an account', async () => {
    const unknown = address()
    ok(await stack.client().auth.resetPasswordForEmail(unknown))
    assert.equal(mails(unknown).length, 0)
  })

  test('signInWithOtp makes an account, if it may', async () => {
    const email = address()
    fails(await stack.client().auth.signInWithOtp({ email, options: { shouldCreateUser: false } }), 'otp_disabled', 422)
    ok(await stack.client().auth.signInWithOtp({ email, options: { data: { full_name: 'Bo' } } }))
    const { user } = ok(await stack.client().auth.verifyOtp({ email, token: mail(email, 'magiclink').token, type: 'email' }))
    assert.equal(user.user_metadata.full_name, 'Bo')
    fails(await stack.client().auth.signInWithPassword({ email, password: '' }), 'invalid_credentials', 400)
  })

  test('PKCE: the link yields a code that only the asking client can redeem', async () => {
    const { email } = await member()
    const stored = new Map()
    const storage = {
      getItem: (key) => stored.get(key) ?? null,
      setItem: (key, value) => void stored.set(key, value),
      removeItem: (key) => void stored.delete(key)
    }
    const client = stack.client(stack.ANON_KEY, { auth: { flowType: 'pkce', storage, persistSession: true } })
    ok(await client.auth.signInWithOtp({ email, options: { emailRedirectTo: 'http://localhost:5173/' } }))
    const { target, fragment } = await open(mail(email, 'magiclink').link)
    const code = target.searchParams.get('code')
    assert.ok(code)
    assert.equal(fragment.get('access_token'), null)
    const thief = await raw('POST', '/token?grant_type=pkce', { body: { auth_code: code, code_verifier: 'x'.repeat(50) } })
    assert.equal(thief.json.error_code, 'bad_code_verifier')
    const { session } = ok(await client.auth.exchangeCodeForSession(code))
    assert.equal(session.user.email, email)
    const again = await raw('POST', '/token?grant_type=pkce', { body: { auth_code: code, code_verifier: 'x'.repeat(50) } })
    assert.equal(again.json.error_code, 'flow_state_not_found')
  })

  test('the mail is readable, too', async () => {
    const { email } = await member()
    ok(await stack.client().auth.resetPasswordForEmail(email))
    const texts = readdirSync(stack.MAIL_DIR)
      .filter((name) => name.endsWith('-recovery.eml'))
      .map((name) => readFileSync(join(stack.MAIL_DIR, name), 'utf8'))
    const text = texts.find((text) => text.includes(`To: ${email}\n`))
    assert.match(text, /^Subject: /m)
    assert.ok(text.includes(mail(email, 'recovery').link))
  })
})

describe('administration of users', () => {
  test('createUser: chosen id, metadata, role; a password is not needed', async () => {
    const id = randomUUID()
    const email = address()
    const { user } = ok(
      await admin.createUser({
        id, email, password: PASSWORD, email_confirm: true, user_metadata: { full_name: 'Cy' }, app_metadata: { plant: 3 }
      })
    )
    assert.equal(user.id, id)
    assert.equal(user.user_metadata.full_name, 'Cy')
    assert.deepEqual(user.app_metadata, { provider: 'email', providers: ['email'], plant: 3 })
    const { session } = ok(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }))
    assert.equal(claimsOf(session.access_token).app_metadata.plant, 3)

    fails(await admin.createUser({ email, password: PASSWORD }), 'email_exists', 422)
    fails(await admin.createUser({ id, email: address() }), 'conflict', 422)
    fails(await admin.createUser({ id: 'x', email: address() }), 'validation_failed', 400)
    fails(await admin.createUser({}), 'validation_failed', 400)

    const unconfirmed = ok(await admin.createUser({ email: address(), password: PASSWORD })).user
    fails(await stack.client().auth.signInWithPassword({ email: unconfirmed.email, password: PASSWORD }), 'email_not_confirmed', 400)
    const without = ok(await admin.createUser({ email: address(), email_confirm: true })).user
    fails(await stack.client().auth.signInWithPassword({ email: without.email, password: PASSWORD }), 'invalid_credentials', 400)
    assert.equal(ok(await admin.createUser({ email: address(), role: 'service_role' })).user.role, 'service_role')
  })

  test('createUser takes bcrypt hashes of another system', async () => {
    const email = address()
    const hash = sql(`select extensions.crypt('${PASSWORD}', extensions.gen_salt('bf'))`)
    ok(await admin.createUser({ email, email_confirm: true, password_hash: hash }))
    ok(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }))
    fails(await admin.createUser({ email: address(), password_hash: 'md5' }), 'validation_failed', 400)
  })

  test('listUsers counts and pages', async () => {
    for (let i = 0; i < 3; i++) ok(await admin.createUser({ email: address('page') }))
    const all = ok(await admin.listUsers({ page: 1, perPage: 1000 }))
    assert.equal(all.aud, 'authenticated')
    assert.equal(all.total, all.users.length)
    assert.equal(all.total, Number(sql('select count(*) from auth.users')))
    const size = Math.ceil(all.total / 2)
    const first = ok(await admin.listUsers({ page: 1, perPage: size }))
    const second = ok(await admin.listUsers({ page: 2, perPage: size }))
    assert.equal(first.users.length, size)
    assert.equal(first.nextPage, 2)
    assert.equal(first.lastPage, 2)
    assert.equal(second.nextPage, null)
    assert.deepEqual([...first.users, ...second.users].map(({ id }) => id), all.users.map(({ id }) => id))
    assert.deepEqual(ok(await admin.listUsers({ page: 1000, perPage: 50 })).users, [])
    for (const query of ['page=0', 'page=-1', 'per_page=0', 'per_page=x', 'page=99999999999999999999']) {
      assert.equal((await raw('GET', `/admin/users?${query}`, { token: stack.SERVICE_ROLE_KEY })).status, 400, query)
    }
    const huge = await raw('GET', '/admin/users?page=9223372036854775807&per_page=9223372036854775807', {
      token: stack.SERVICE_ROLE_KEY
    })
    assert.equal(huge.status, 200)
  })

  test('getUserById and updateUserById', async () => {
    const { client, user, email } = await member()
    assert.equal(ok(await admin.getUserById(user.id)).user.email, email)
    fails(await admin.getUserById(randomUUID()), 'user_not_found', 404)
    fails(await admin.updateUserById(randomUUID(), { role: 'x' }), 'user_not_found', 404)
    const wanted = address('changed')
    const changed = ok(
      await admin.updateUserById(user.id, {
        email: wanted, password: 'set by admin', app_metadata: { plant: 7 }, user_metadata: { full_name: 'Di' }
      })
    ).user
    assert.equal(changed.email, wanted)
    assert.equal(changed.app_metadata.plant, 7)
    assert.equal(changed.user_metadata.full_name, 'Di')
    assert.match((await client.auth.getUser()).error.name, /AuthSessionMissingError/)
    ok(await stack.client().auth.signInWithPassword({ email: wanted, password: 'set by admin' }))
    const { email: taken } = await member()
    fails(await admin.updateUserById(user.id, { email: taken }), 'email_exists', 422)
    fails(await admin.updateUserById(user.id, { ban_duration: 'forever' }), 'validation_failed', 400)
  })

  test('a banned user is refused everywhere until the ban is lifted', async () => {
    const { client, user, email } = await member()
    ok(await admin.updateUserById(user.id, { ban_duration: '1h30m' }))
    fails(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }), 'user_banned', 400)
    fails(await client.auth.getUser(), 'user_banned', 403)
    ok(await stack.client().auth.resetPasswordForEmail(email))
    fails(await stack.client().auth.verifyOtp({ email, token: mail(email).token, type: 'recovery' }), 'user_banned', 403)
    ok(await admin.updateUserById(user.id, { ban_duration: 'none' }))
    ok(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }))
  })

  test('deleteUser, hard', async () => {
    const { client, user, email, session } = await member()
    ok(await admin.deleteUser(user.id))
    fails(await admin.getUserById(user.id), 'user_not_found', 404)
    fails(await admin.deleteUser(user.id), 'user_not_found', 404)
    fails(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials', 400)
    fails(await client.auth.refreshSession({ refresh_token: session.refresh_token }), 'refresh_token_not_found', 400)
    assert.equal((await raw('GET', '/user', { token: session.access_token })).json.error_code, 'user_not_found')
    ok(await stack.client().auth.signUp({ email, password: PASSWORD }))
  })

  test('deleteUser, soft: the row stays, the person is gone', async () => {
    const { user, email } = await member({ data: { full_name: 'Ed' } })
    ok(await admin.deleteUser(user.id, true))
    ok(await admin.deleteUser(user.id, true))
    const left = ok(await admin.getUserById(user.id)).user
    assert.ok(left.deleted_at)
    assert.ok(!JSON.stringify(left).includes(email) && !JSON.stringify(left).includes('"Ed"'))
    fails(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials', 400)
    ok(await stack.client().auth.signUp({ email, password: PASSWORD }))
  })

  test('inviteUserByEmail: the invited person sets a password', async () => {
    const email = address('invited')
    const { user } = ok(await admin.inviteUserByEmail(email, { data: { plant: 2 }, redirectTo: 'http://localhost:5173/welcome' }))
    assert.ok(user.invited_at)
    assert.equal(user.email_confirmed_at, undefined)
    assert.equal(user.user_metadata.plant, 2)
    fails(await stack.client().auth.signUp({ email, password: PASSWORD }), 'user_already_exists', 422)
    ok(await admin.inviteUserByEmail(email))
    assert.equal(mails(email, 'invite').length, 2)
    const stale = await open(mails(email, 'invite')[0].link)
    assert.equal(stale.fragment.get('error_code'), 'otp_expired')
    const { fragment } = await open(mail(email, 'invite').link)
    assert.equal(fragment.get('type'), 'invite')
    const client = stack.client()
    ok(await client.auth.setSession({ access_token: fragment.get('access_token'), refresh_token: fragment.get('refresh_token') }))
    ok(await client.auth.updateUser({ password: PASSWORD }))
    ok(await stack.client().auth.signInWithPassword({ email, password: PASSWORD }))
    fails(await admin.inviteUserByEmail(email), 'email_exists', 422)
  })

  test('generateLink', async () => {
    const email = address('linked')
    const signUp = ok(await admin.generateLink({ type: 'signup', email, password: PASSWORD, options: { redirectTo: 'http://localhost:5173/' } }))
    assert.equal(signUp.user.email, email)
    assert.equal(mails(email).length, 0)
    const { target, fragment } = await open(signUp.properties.action_link)
    assert.equal(target.origin, 'http://localhost:5173')
    assert.ok(fragment.get('access_token'))
    for (const type of ['magiclink', 'recovery']) {
      const { properties } = ok(await admin.generateLink({ type, email }))
      assert.equal(properties.verification_type, type)
      ok(await stack.client().auth.verifyOtp({ token_hash: properties.hashed_token, type }))
    }
    const newEmail = address('relinked')
    for (const type of ['email_change_current', 'email_change_new']) {
      const { properties } = ok(await admin.generateLink({ type, email, newEmail }))
      await open(properties.action_link)
    }
    ok(await stack.client().auth.signInWithPassword({ email: newEmail, password: PASSWORD }))
    fails(await admin.generateLink({ type: 'recovery', email: address() }), 'user_not_found', 404)
    fails(await admin.generateLink({ type: 'nonsense', email }), 'validation_failed', 400)
    fails(await admin.generateLink({ type: 'invite', email: newEmail }), 'email_exists', 422)
  })
})

describe('hostile input gets a clear 4xx', () => {
  const shaped = ({ status, json, text }, what) => {
    assert.ok(status >= 400 && status < 500, `${status} for ${what}: ${text.slice(0, 200)}`)
    assert.equal(json.code, status, what)
    assert.equal(typeof json.error_code, 'string', what)
    assert.ok(json.msg.length > 0, what)
  }
  const routes = [
    ['POST', '/signup'], ['POST', '/token?grant_type=password'], ['POST', '/token?grant_type=refresh_token'],
    ['POST', '/token?grant_type=pkce'], ['POST', '/token'], ['POST', '/recover'], ['POST', '/otp'], ['POST', '/resend'],
    ['POST', '/verify'], ['POST', '/invite'], ['POST', '/admin/users'], ['POST', '/admin/generate_link'], ['PUT', '/user']
  ]
  const bodies = [
    '', '{', 'null', '[]', '"x"', '1', '{"email":', '{"email":"\\ud800"}', '[' .repeat(50_000),
    '{"email":{"$ne":null},"password":["x"],"refresh_token":1,"type":1,"auth_code":{}}',
    '{"email":"a\\u0000@example.com","password":"long enough","token":"\\u0000","type":"recovery","refresh_token":"\\u0000"}',
    `{"email":"${'a'.repeat(5000)}@example.com","password":"${'p'.repeat(5000)}","type":"${'t'.repeat(5000)}"}`,
    new Uint8Array([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])
  ]

  test('malformed, mistyped, overlong and NUL bodies on every route', async () => {
    const { session } = await member()
    for (const [method, path] of routes) {
      const token = path === '/user' ? session.access_token : stack.SERVICE_ROLE_KEY
      for (const body of bodies) {
        const answer = await raw(method, path, { body, token })
        // PUT /user without any known field changes nothing, and an unknown refresh token is 400.
        if (path === '/user' && answer.status === 200) continue
        shaped(answer, `${method} ${path} ${String(body).slice(0, 60)}`)
      }
    }
  })

  test('a huge body', async () => {
    const body = { email: address(), password: PASSWORD, data: { x: 'x'.repeat(8 << 20) } }
    const answer = await raw('POST', '/signup', { body })
    assert.equal(answer.status, 413)
  })

  test('NUL in metadata, at any depth', async () => {
    const { client } = await member()
    fails(await client.auth.updateUser({ data: { a: [{ b: 'x\0' }] } }), 'validation_failed', 400)
    fails(await client.auth.updateUser({ data: { 'a\0': 1 } }), 'validation_failed', 400)
    ok(await client.auth.updateUser({ data: { text: 'line\nline\ttab \u202e 𝄞', deep: { list: [1, null, 1e300] } } }))
  })

  test('unknown fields are ignored', async () => {
    const answer = await raw('POST', '/signup', {
      body: { email: address(), password: PASSWORD, gotrue_meta_security: {}, whatever: [1], channel: null }
    })
    assert.equal(answer.status, 200)
  })

  test('bad paths, methods, headers and queries', async () => {
    const token = stack.SERVICE_ROLE_KEY
    shaped(await raw('GET', '/admin/users/not-a-uuid', { token }), 'bad id')
    shaped(await raw('GET', '/admin/users/%ff%00', { token }), 'bad bytes in the path')
    shaped(await raw('DELETE', `/admin/users/${randomUUID()}`, { token, body: '{"should_soft_delete":"yes"}' }), 'mistyped flag')
    shaped(await raw('GET', '/nothing'), 'unknown route')
    shaped(await raw('GET', '/authorize?provider=github'), 'social sign-in')
    shaped(await raw('DELETE', '/signup'), 'wrong method')
    shaped(await raw('GET', '/user', { headers: { authorization: 'Basic abc' } }), 'no bearer')
    shaped(await raw('GET', '/admin/users?filter=%00', { token }), 'NUL in the query')
    shaped(await raw('GET', '/verify?token=%00&type=recovery'), 'NUL in a link')
    shaped(await raw('POST', '/token?grant_type=id_token', { body: {} }), 'unsupported grant')
    shaped(await raw('POST', '/verify', { body: { type: 'sms', phone: '+1', token: '1' } }), 'phone')
    const link = await raw('GET', '/verify?token=x&type=nonsense', { redirect: 'manual' })
    assert.equal(link.status, 303)
    assert.match(link.headers.get('location'), /error_code=validation_failed/)
  })

  test('without a token', async () => {
    for (const [method, path] of [['GET', '/user'], ['PUT', '/user'], ['GET', '/reauthenticate'], ['POST', '/logout']]) {
      // The gateway may put the anon key in place of a missing token; that is no user either.
      const { status } = await raw(method, path, { body: method === 'PUT' ? {} : undefined })
      assert.ok([401, 403].includes(status), `${method} ${path}: ${status}`)
    }
  })

  test('a code verifier must answer its challenge', async () => {
    const challenge = createHash('sha256').update('v'.repeat(50)).digest('base64url')
    for (const body of [
      { code_challenge: challenge }, { code_challenge: 'short', code_challenge_method: 's256' },
      { code_challenge: challenge, code_challenge_method: 'md5' }, { code_challenge: 5, code_challenge_method: 's256' }
    ]) {
      shaped(await raw('POST', '/recover', { body: { email: address(), ...body } }), JSON.stringify(body))
    }
  })
})

describe('with the other parts of the stack', () => {
  test('PostgREST accepts our tokens and no altered ones', async () => {
    const { session } = await member()
    const rest = (token) =>
      fetch(`${stack.API_URL}/rest/v1/`, { headers: { apikey: stack.ANON_KEY, authorization: `Bearer ${token}` } })
    assert.equal((await rest(session.access_token)).status, 200)
    const [head, , signature] = session.access_token.split('.')
    const claims = { ...claimsOf(session.access_token), role: 'service_role' }
    const altered = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`
    assert.equal((await rest(altered)).status, 401)
  })

  test('the secret key administers, the publishable key does not', async () => {
    ok(await stack.client(stack.SECRET_KEY).auth.admin.listUsers())
    const email = address()
    ok(await stack.client(stack.PUBLISHABLE_KEY).auth.signUp({ email, password: PASSWORD }))
    const { error } = await stack.client(stack.PUBLISHABLE_KEY).auth.admin.listUsers()
    assert.ok([401, 403].includes(error.status))
  })

  test('lost database connections cost no request', async () => {
    const { client } = await member()
    const ended = sql(`select count(pg_terminate_backend(pid)) from pg_stat_activity
                        where application_name = 'lyceum-auth' and datname = current_database()`)
    assert.ok(Number(ended) > 0)
    ok(await client.auth.getUser())
    ok(await client.auth.refreshSession())
  })
})

test('health and settings answer', async () => {
  assert.equal((await raw('GET', '/health')).status, 200)
  const { json } = await raw('GET', '/settings')
  assert.equal(json.external.email, true)
  assert.equal(json.mailer_autoconfirm, true)
})
