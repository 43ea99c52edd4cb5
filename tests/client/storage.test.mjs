// The storage stand-in as an unmodified supabase-js meets it: buckets, uploads, downloads, signed URLs, lists, moves; and
// files that are handed in.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { startSandbox } from './sandbox.mjs'

let stack
let service
let lena
let sam
before(async () => {
  stack = await startSandbox({ seed: true })
  service = stack.client(stack.SERVICE_ROLE_KEY).storage
  ok(await service.createBucket('notes', { fileSizeLimit: 100_000, allowedMimeTypes: ['text/*', 'image/png'] }))
  ok(await service.createBucket('pictures', { public: true }))
  // As a project's own migration would: everybody has a folder of their own.
  sql(`
    create policy notes_own on storage.objects for all to authenticated
      using (bucket_id = 'notes' and (storage.foldername(name))[1] = (select auth.uid())::text)
      with check (bucket_id = 'notes' and (storage.foldername(name))[1] = (select auth.uid())::text)`)
  lena = await member()
  sam = await member()
})
after(() => stack.stop())

/** Asserts that a call succeeded, and returns its data. */
function ok({ data, error }) {
  assert.equal(error, null, error ? `${error.statusCode}: ${error.message}` : '')
  return data
}

/** Asserts that a call failed in the given way. */
function fails({ error }, statusCode, message) {
  assert.ok(error, `expected the error ${statusCode}, got success`)
  assert.equal(error.statusCode, statusCode, error.message)
  if (message) assert.match(error.message, message)
  return error
}

async function member() {
  const client = stack.client()
  const credentials = { email: `member-${randomUUID()}@example.com`, password: 'correct horse battery' }
  const { user, session } = ok(await client.auth.signUp(credentials))
  return { id: user.id, token: session.access_token, notes: client.storage.from('notes'), storage: client.storage }
}

function sql(statement) {
  return execFileSync('psql', ['-qXAt', '-v', 'ON_ERROR_STOP=1', '-d', stack.DB_URL, '-c', statement], { encoding: 'utf8' }).trim()
}

/** The files on the disk, and those that are being written. */
function files() {
  const below = (folder) => readdirSync(join(stack.STORAGE_DIR, folder), { recursive: true, withFileTypes: true })
  return { objects: below('objects').filter((entry) => entry.isFile()).length, staging: below('staging').length }
}

const rows = () => Number(sql('select count(*) from storage.objects'))
const text = async (answer) => await ok(answer).text()
const get = (url, headers = {}) => fetch(url, { headers })

describe('buckets', () => {
  test('the service role makes, reads, changes, empties and removes them', async () => {
    const name = `bucket-${randomUUID()}`
    assert.deepEqual(ok(await service.createBucket(name, { public: false, fileSizeLimit: '1KB' })), { name })
    const bucket = ok(await service.getBucket(name))
    assert.deepEqual([bucket.id, bucket.public, bucket.file_size_limit], [name, false, 1000])
    assert.ok(ok(await service.listBuckets()).some((each) => each.id === name))
    ok(await service.updateBucket(name, { public: true }))
    assert.equal(ok(await service.getBucket(name)).public, true)
    ok(await service.from(name).upload('a.txt', 'a'))
    fails(await service.deleteBucket(name), '409', /not empty/)
    ok(await service.emptyBucket(name))
    ok(await service.deleteBucket(name))
    fails(await service.getBucket(name), '404', /Bucket not found/)
  })

  test('nobody else does', async () => {
    for (const { storage } of [lena, stack.client()]) {
      fails(await storage.createBucket(`bucket-${randomUUID()}`), '403', /row-level security/)
      assert.deepEqual(ok(await storage.listBuckets()), [])
      fails(await storage.getBucket('notes'), '404')
      fails(await storage.updateBucket('notes', { public: true }), '404')
      fails(await storage.emptyBucket('notes'), '404')
      fails(await storage.deleteBucket('notes'), '404')
    }
  })

  test('a name is free once and is no path', async () => {
    fails(await service.createBucket('notes'), '409')
    for (const name of ['', '..', 'a/b', 'public', 'ü']) fails(await service.createBucket(name), '400')
  })
})

describe('uploads', () => {
  test('of every kind of body come back as they went', async () => {
    const bodies = {
      string: 'grüße',
      buffer: Buffer.from('grüße'),
      blob: new Blob(['grüße'], { type: 'text/plain' }),
      file: new File(['grüße'], 'other name.txt', { type: 'text/plain' }),
      array: new TextEncoder().encode('grüße').buffer,
      stream: Readable.from([Buffer.from('grü'), Buffer.from('ße')])
    }
    for (const [kind, body] of Object.entries(bodies)) {
      const path = `${lena.id}/kinds/${kind}.txt`
      const data = ok(await lena.notes.upload(path, body, { contentType: 'text/plain' }))
      assert.deepEqual([data.path, data.fullPath], [path, `notes/${path}`])
      assert.match(data.id, /^[0-9a-f-]{36}$/)
      const blob = ok(await lena.notes.download(path))
      assert.equal(await blob.text(), 'grüße', kind)
      assert.match(blob.type, /^text\/plain/)
    }
  })

  test('carry cache control and notes of the client', async () => {
    for (const [name, body] of [['raw', 'x'], ['form', new Blob(['x'], { type: 'text/plain' })]]) {
      const path = `${lena.id}/described/${name}`
      ok(await lena.notes.upload(path, body, { contentType: 'text/plain', cacheControl: '60', metadata: { camera: 'é' } }))
      const info = ok(await lena.notes.info(path))
      assert.deepEqual(info.metadata, { camera: 'é' })
      assert.equal(info.size, 1)
      assert.equal(info.cacheControl, 'max-age=60')
      assert.equal(info.contentType, 'text/plain')
      assert.equal(info.bucketId, 'notes')
    }
  })

  test('do not replace anything unless told to', async () => {
    const path = `${lena.id}/versions.txt`
    const first = ok(await lena.notes.upload(path, 'one'))
    fails(await lena.notes.upload(path, 'two'), '409', /already exists/)
    assert.equal(await text(await lena.notes.download(path)), 'one')
    const before = files().objects
    assert.equal(ok(await lena.notes.upload(path, 'two', { upsert: true })).id, first.id)
    assert.equal(await text(await lena.notes.download(path)), 'two')
    ok(await lena.notes.update(path, 'three'))
    assert.equal(await text(await lena.notes.download(path)), 'three')
    assert.deepEqual(files(), { objects: before, staging: 0 }, 'a replaced version leaves no bytes')
  })

  test('at once to one name leave one row and one file', async () => {
    const before = { rows: rows(), files: files().objects }
    const path = `${lena.id}/race.txt`
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => lena.notes.upload(path, `${n}`, { upsert: n % 2 === 0 })))
    assert.ok(answers.some(({ error }) => !error))
    for (const { error } of answers.filter((answer) => answer.error)) assert.equal(error.statusCode, '409', error.message)
    assert.deepEqual({ rows: rows(), files: files().objects }, { rows: before.rows + 1, files: before.files + 1 })
    assert.match(await text(await lena.notes.download(path)), /^\d+$/)
  })

  test('keep the limits of their bucket and leave nothing behind', async () => {
    const before = { rows: rows(), ...files() }
    const large = 'x'.repeat(100_001)
    for (const body of [large, new Blob([large], { type: 'text/plain' }), Readable.from([Buffer.from(large)])]) {
      fails(await lena.notes.upload(`${lena.id}/large`, body), '413', /maximum allowed size/)
    }
    ok(await lena.notes.upload(`${lena.id}/fits`, 'x'.repeat(100_000)))
    ok(await lena.notes.remove([`${lena.id}/fits`]))
    for (const type of ['application/pdf', 'image/jpeg', 'text', 'text/html\r\nx: y']) {
      fails(await lena.notes.upload(`${lena.id}/kind`, new Blob(['x'], { type })), '415')
    }
    fails(await lena.notes.upload(`${lena.id}/kind`, 'x', { contentType: 'application/pdf' }), '415')
    assert.deepEqual({ rows: rows(), ...files() }, before)
  })

  test('into folders of others, or into no bucket, are refused', async () => {
    const before = { rows: rows(), ...files() }
    for (const body of ['x', new Blob(['x'], { type: 'text/plain' })]) {
      fails(await lena.notes.upload(`${sam.id}/x`, body), '403', /row-level security/)
      fails(await stack.client().storage.from('notes').upload(`${sam.id}/x`, body), '403')
      fails(await lena.storage.from('nowhere').upload('x', body), '404', /Bucket not found/)
    }
    ok(await sam.notes.upload(`${sam.id}/hers`, 'hers'))
    fails(await lena.notes.upload(`${sam.id}/hers`, 'mine', { upsert: true }), '403')
    fails(await lena.notes.update(`${sam.id}/hers`, 'mine'), '403')
    assert.equal(await text(await sam.notes.download(`${sam.id}/hers`)), 'hers')
    ok(await sam.notes.remove([`${sam.id}/hers`]))
    assert.deepEqual({ rows: rows(), ...files() }, before)
  })

  test('that lose their right while they run are refused at their end', async () => {
    const before = { rows: rows(), ...files() }
    const path = `${lena.id}/slow`
    let revoke
    const revoked = new Promise((resolve) => { revoke = resolve })
    async function* body() {
      yield Buffer.from('first')
      await revoked
      yield Buffer.from('second')
    }
    const upload = lena.notes.upload(path, Readable.from(body()))
    await new Promise((resolve) => setTimeout(resolve, 500))
    assert.equal(files().staging, 1)
    sql(`alter policy notes_own on storage.objects with check (false)`)
    revoke()
    fails(await upload, '403')
    sql(`alter policy notes_own on storage.objects with check (bucket_id = 'notes' and (storage.foldername(name))[1] = (select auth.uid())::text)`)
    assert.deepEqual({ rows: rows(), ...files() }, before)
  })
})

describe('downloads', () => {
  const content = '0123456789'
  let path
  before(async () => {
    path = `${lena.id}/numbers.txt`
    ok(await lena.notes.upload(path, content, { contentType: 'text/plain', cacheControl: '10' }))
  })
  const url = (place) => `${stack.API_URL}/storage/v1/object/${place}`
  const asLena = (headers = {}) => get(url(`notes/${path}`), { authorization: `Bearer ${lena.token}`, ...headers })

  test('are for those who may read', async () => {
    assert.equal(await text(await lena.notes.download(path)), content)
    fails(await sam.notes.download(path), '404', /Object not found/)
    fails(await stack.client().storage.from('notes').download(path), '404')
    assert.equal(ok(await lena.notes.exists(path)), true)
    assert.equal((await sam.notes.exists(path)).data, false)
    assert.equal(await text(await service.from('notes').download(path)), content)
  })

  test('come in ranges', async () => {
    for (const [range, status, part, contentRange] of [
      ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
      ['bytes=7-', 206, '789', 'bytes 7-9/10'],
      ['bytes=-2', 206, '89', 'bytes 8-9/10'],
      ['bytes=0-99', 206, content, 'bytes 0-9/10'],
      ['bytes=4-2', 200, content, null],
      ['bytes=0-1,4-5', 200, content, null],
      ['lines=1-2', 200, content, null]
    ]) {
      const answer = await asLena({ range })
      assert.deepEqual([answer.status, await answer.text(), answer.headers.get('content-range')], [status, part, contentRange], range)
    }
    const beyond = await asLena({ range: 'bytes=10-' })
    assert.deepEqual([beyond.status, beyond.headers.get('content-range')], [416, 'bytes */10'])
  })

  test('say what they are, and are not sent twice', async () => {
    const first = await asLena()
    const tag = first.headers.get('etag')
    assert.match(tag, /^"[0-9a-f]{64}"$/)
    assert.equal(first.headers.get('content-length'), '10')
    assert.equal(first.headers.get('accept-ranges'), 'bytes')
    assert.equal(first.headers.get('cache-control'), 'private, max-age=10')
    assert.equal(first.headers.get('x-content-type-options'), 'nosniff')
    assert.ok(!Number.isNaN(Date.parse(first.headers.get('last-modified'))))
    const again = await asLena({ 'if-none-match': tag })
    assert.deepEqual([again.status, await again.text()], [304, ''])
    assert.equal((await asLena({ 'if-none-match': '"other"' })).status, 200)
    assert.equal((await asLena({ range: 'bytes=0-1', 'if-range': tag })).status, 206)
    assert.equal((await asLena({ range: 'bytes=0-1', 'if-range': '"other"' })).status, 200)
    const head = await fetch(url(`notes/${path}`), { method: 'HEAD', headers: { authorization: `Bearer ${lena.token}` } })
    assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '10', ''])
  })

  test('from a public bucket need no key, but only from there', async () => {
    ok(await service.from('pictures').upload('cats/a b.txt', 'cat', { contentType: 'text/plain' }))
    const { data } = service.from('pictures').getPublicUrl('cats/a b.txt')
    assert.equal(await (await get(data.publicUrl)).text(), 'cat')
    const named = await get(service.from('pictures').getPublicUrl('cats/a b.txt', { download: 'cät.txt' }).data.publicUrl)
    assert.match(named.headers.get('content-disposition'), /^attachment; .*filename\*=UTF-8''c%C3%A4t\.txt$/)
    assert.equal((await get(url(`public/notes/${path}`))).status, 400)
    assert.equal((await get(url(`notes/${path}`))).status, 401)
    // Public to read is not public to list or to write.
    assert.deepEqual(ok(await lena.storage.from('pictures').list()), [])
    fails(await lena.storage.from('pictures').upload('x', 'x'), '403')
  })

  test('of pages do not run as pages of this address', async () => {
    ok(await service.from('pictures').upload('page.html', '<script>alert(1)</script>', { contentType: 'text/html' }))
    const answer = await get(service.from('pictures').getPublicUrl('page.html').data.publicUrl)
    assert.match(answer.headers.get('content-security-policy'), /sandbox/)
  })
})

describe('signed URLs', () => {
  let path
  before(async () => {
    path = `${lena.id}/signed.txt`
    ok(await lena.notes.upload(path, 'signed', { contentType: 'text/plain' }))
  })

  test('open one object for whoever holds them', async () => {
    const { signedUrl } = ok(await lena.notes.createSignedUrl(path, 60))
    const answer = await get(signedUrl)
    assert.deepEqual([answer.status, await answer.text()], [200, 'signed'])
    const ranged = await get(signedUrl, { range: 'bytes=0-1' })
    assert.deepEqual([ranged.status, await ranged.text()], [206, 'si'])
    const named = await get(ok(await lena.notes.createSignedUrl(path, 60, { download: true })).signedUrl)
    assert.match(named.headers.get('content-disposition'), /signed\.txt/)
    assert.equal((await get(signedUrl.replace('signed.txt', 'numbers.txt'))).status, 400)
  })

  test('are made by those who may read', async () => {
    fails(await sam.notes.createSignedUrl(path, 60), '404')
    fails(await lena.notes.createSignedUrl(`${lena.id}/nothing`, 60), '404')
    const [mine, hers, odd] = ok(await lena.notes.createSignedUrls([path, `${sam.id}/signed.txt`, '../x'], 60))
    assert.equal(await (await get(mine.signedUrl)).text(), 'signed')
    assert.equal(mine.error, null)
    for (const refused of [hers, odd]) {
      assert.match(refused.error, /does not exist or you do not have access/)
      assert.equal(refused.signedUrl, null)
    }
  })

  test('live for five minutes at most', async () => {
    const token = new URL(ok(await lena.notes.createSignedUrl(path, 86_400)).signedUrl).searchParams.get('token')
    const { iat, exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
    assert.equal(exp - iat, 300)
    for (const expiresIn of [0, -1, 1.5, '60', null]) fails(await lena.notes.createSignedUrl(path, expiresIn), '400')
    const { signedUrl } = ok(await lena.notes.createSignedUrl(path, 1))
    await new Promise((resolve) => setTimeout(resolve, 2_100))
    const late = await get(signedUrl)
    assert.equal(late.status, 400)
    assert.match((await late.json()).message, /expired/)
  })

  test('for uploads act with the rights of their signer', async () => {
    const target = `${lena.id}/by url.txt`
    const { token } = ok(await lena.notes.createSignedUploadUrl(target))
    const anybody = stack.client().storage.from('notes')
    const uploaded = ok(await anybody.uploadToSignedUrl(target, token, 'by url', { contentType: 'text/plain' }))
    assert.deepEqual([uploaded.path, uploaded.fullPath], [target, `notes/${target}`])
    assert.equal(await text(await lena.notes.download(target)), 'by url')
    assert.equal(sql(`select owner_id from storage.objects where name = '${target}'`), lena.id)
    fails(await anybody.uploadToSignedUrl(target, token, 'again'), '409')
    fails(await anybody.uploadToSignedUrl(`${lena.id}/other`, token, 'x'), '400', /Invalid signature/)
    fails(await lena.notes.createSignedUploadUrl(target), '409')
    const again = ok(await lena.notes.createSignedUploadUrl(target, { upsert: true }))
    ok(await anybody.uploadToSignedUrl(target, again.token, new Blob(['again'], { type: 'text/plain' })))
    assert.equal(await text(await lena.notes.download(target)), 'again')
    fails(await sam.notes.createSignedUploadUrl(`${lena.id}/sams`), '403')

    const late = ok(await lena.notes.createSignedUploadUrl(`${lena.id}/late`))
    sql(`alter policy notes_own on storage.objects with check (false)`)
    fails(await anybody.uploadToSignedUrl(`${lena.id}/late`, late.token, 'x'), '403')
    sql(`alter policy notes_own on storage.objects with check (bucket_id = 'notes' and (storage.foldername(name))[1] = (select auth.uid())::text)`)
  })
})

describe('lists, moves, copies and removals', () => {
  let folder
  before(async () => {
    folder = `${lena.id}/tree`
    for (const name of ['b.txt', 'a.txt', 'sub/c.txt', 'sub/deeper/d.txt', '100%.txt'.replace('%', '+')]) {
      ok(await lena.notes.upload(`${folder}/${name}`, name))
    }
  })

  test('a folder shows its files and folders', async () => {
    const names = async (client, path, options) => ok(await client.list(path, options)).map(({ name, id }) => (id ? name : `${name}/`))
    assert.deepEqual(await names(lena.notes, folder), ['100+.txt', 'a.txt', 'b.txt', 'sub/'])
    assert.deepEqual(await names(lena.notes, `${folder}/sub`), ['c.txt', 'deeper/'])
    assert.deepEqual(await names(lena.notes, folder, { limit: 2, offset: 1 }), ['a.txt', 'b.txt'])
    assert.deepEqual(await names(lena.notes, folder, { search: 'A' }), ['a.txt'])
    assert.deepEqual(await names(lena.notes, folder, { search: '%' }), [])
    assert.deepEqual(await names(lena.notes, folder, { sortBy: { column: 'name', order: 'desc' } }), ['sub/', 'b.txt', 'a.txt', '100+.txt'])
    assert.deepEqual(await names(sam.notes, folder), [])
    assert.deepEqual(await names(lena.notes), [`${lena.id}/`])
    const [file] = ok(await lena.notes.list(folder, { search: 'a.txt' }))
    assert.equal(file.metadata.size, 5)
    assert.match(file.metadata.mimetype, /text\/plain/)
    for (const column of ['id', 'name; drop table storage.objects', 'nonsense']) fails(await lena.notes.list(folder, { sortBy: { column } }), '400')
  })

  test('an object is moved and copied where one may write', async () => {
    ok(await lena.notes.move(`${folder}/a.txt`, `${folder}/moved.txt`))
    fails(await lena.notes.download(`${folder}/a.txt`), '404')
    assert.equal(await text(await lena.notes.download(`${folder}/moved.txt`)), 'a.txt')
    assert.deepEqual(ok(await lena.notes.copy(`${folder}/moved.txt`, `${folder}/a.txt`)), { path: `notes/${folder}/a.txt` })
    ok(await lena.notes.remove([`${folder}/moved.txt`]))
    assert.equal(await text(await lena.notes.download(`${folder}/a.txt`)), 'a.txt', 'a copy outlives its original')

    fails(await lena.notes.move(`${folder}/a.txt`, `${folder}/b.txt`), '409')
    fails(await lena.notes.copy(`${folder}/a.txt`, `${folder}/b.txt`), '409')
    fails(await lena.notes.move(`${folder}/a.txt`, `${sam.id}/a.txt`), '403')
    fails(await lena.notes.copy(`${folder}/a.txt`, `${sam.id}/a.txt`), '403')
    fails(await sam.notes.move(`${folder}/a.txt`, `${sam.id}/a.txt`), '404')
    fails(await sam.notes.copy(`${folder}/a.txt`, `${sam.id}/a.txt`), '404')
    fails(await lena.notes.copy(`${folder}/a.txt`, 'a.txt', { destinationBucket: 'pictures' }), '403')
    fails(await lena.notes.copy(`${folder}/a.txt`, '../a.txt'), '400')
    // A bucket's limits hold on every way into it.
    ok(await service.from('pictures').upload('big', 'x'.repeat(100_001), { contentType: 'text/plain' }))
    fails(await service.from('pictures').copy('big', 'big', { destinationBucket: 'notes' }), '413')
    fails(await service.from('pictures').move('big', 'big', { destinationBucket: 'notes' }), '413')
  })

  test('only what is one\'s own is removed, with its bytes', async () => {
    const before = { rows: rows(), files: files().objects }
    assert.deepEqual(ok(await sam.notes.remove([`${folder}/b.txt`])), [])
    const removed = ok(await lena.notes.remove([`${folder}/b.txt`, `${folder}/sub/c.txt`, `${folder}/nothing`]))
    assert.deepEqual(removed.map(({ name }) => name).sort(), [`${folder}/b.txt`, `${folder}/sub/c.txt`])
    assert.deepEqual({ rows: rows(), files: files().objects }, { rows: before.rows - 2, files: before.files - 2 })
    fails(await lena.notes.remove(['../x']), '400')
    fails(await lena.notes.remove([]), '400')
  })

  test('SQL alone does not remove an object: its bytes would stay', () => {
    assert.throws(() => sql(`delete from storage.objects where bucket_id = 'notes'`), /Direct deletion/)
  })
})

describe('files that are handed in', () => {
  const IRONWORKS = 'a0000000-0000-4000-8000-000000000001'
  const demo = async (name) => {
    const client = stack.client()
    ok(await client.auth.signInWithPassword({ email: `${name}.example`, password: 'lyceum-demo' }))
    return { lms: client.schema('lms'), files: client.storage.from('hand-ins') }
  }

  test('go with an attempt from its learner to its graders, and stay', async () => {
    const [ines, mia, noah, petra] = await Promise.all(['ines@ironworks', 'mia@ironworks', 'noah@ironworks', 'petra@fieldnotes'].map(demo))
    const course = ok(await ines.lms.from('courses').insert({ tenant_id: IRONWORKS, slug: 'reports', title: 'Reports' }).select().single())
    const module = ok(await ines.lms.from('modules').insert({ course_id: course.id, title: 'One' }).select().single())
    const lesson = ok(await ines.lms.from('lessons').insert({ module_id: module.id, title: 'How to' }).select().single())
    ok(await ines.lms.from('lesson_blocks').insert({ lesson_id: lesson.id, type: 'markdown', content: { markdown: 'Write.' } }))
    const assessment = ok(await ines.lms.from('assessments')
      .insert({ course_id: course.id, title: 'A report', kind: 'assignment' }).select().single())
    const question = ok(await ines.lms.from('questions').insert({
      assessment_id: assessment.id, type: 'file_upload', prompt: 'Hand it in.', content: { max_files: 2, extensions: ['pdf'] }, points: 10
    }).select().single())
    ok(await ines.lms.rpc('set_answer_key', { p_question_id: question.id, p_key: {} }))
    ok(await ines.lms.rpc('publish_course', { p_course_id: course.id }))
    ok(await mia.lms.rpc('enroll', { p_course_id: course.id }))

    const attempt = ok(await mia.lms.rpc('start_attempt', { p_assessment_id: assessment.id }))
    const { tenant_id } = ok(await mia.lms.from('assessment_attempts').select('tenant_id').eq('id', attempt.id).single())
    const folder = `${tenant_id}/${attempt.id}/${question.id}`
    const path = `${folder}/my report.pdf`
    const pdf = new Blob(['%PDF-1.7'], { type: 'application/pdf' })
    const answer = (...files) => mia.lms.rpc('save_answers', { p_attempt_id: attempt.id, p_answers: { [question.id]: { files } } })

    const early = await answer(path)
    assert.deepEqual([early.status, early.error.code], [422, 'invalid_answers'])
    assert.deepEqual(JSON.parse(early.error.details)[0].faults, ['file_not_handed_in'])
    ok(await mia.files.upload(path, pdf))
    fails(await mia.files.upload(path, pdf, { upsert: true }), '403')
    fails(await mia.files.upload(`${folder}/report.exe`, pdf), '403', /files that end in: pdf/)
    ok(await mia.files.upload(`${folder}/draft.pdf`, pdf))
    fails(await mia.files.upload(`${folder}/third.pdf`, pdf), '403', /2 files at most/)
    assert.equal(ok(await answer(path)).saved, 1)
    fails(await mia.files.remove([path]), '403', /take it out of the answer/)
    assert.equal(ok(await mia.files.remove([`${folder}/draft.pdf`])).length, 1)
    assert.deepEqual(ok(await mia.files.list(folder)).map(({ name }) => name), ['my report.pdf'])
    const late = ok(await mia.files.createSignedUploadUrl(`${folder}/late.pdf`))

    assert.equal(ok(await mia.lms.rpc('submit_attempt', { p_attempt_id: attempt.id })).status, 'submitted')
    fails(await mia.files.upload(`${folder}/better.pdf`, pdf), '403')
    fails(await mia.files.uploadToSignedUrl(`${folder}/late.pdf`, late.token, pdf), '403')
    assert.deepEqual(ok(await mia.files.remove([path])), [])
    fails(await mia.files.move(path, `${folder}/other.pdf`), '403')

    const given = ok(await ines.lms.from('attempt_answers').select('response').eq('attempt_id', attempt.id).single())
    const { signedUrl } = ok(await ines.files.createSignedUrl(given.response.files[0], 60, { download: true }))
    const file = await get(signedUrl)
    assert.equal(await file.text(), '%PDF-1.7')
    assert.match(file.headers.get('content-disposition'), /my report\.pdf/)
    assert.equal(await text(await mia.files.download(path)), '%PDF-1.7')
    for (const stranger of [noah, petra]) {
      fails(await stranger.files.download(path), '404')
      fails(await stranger.files.createSignedUrl(path, 60), '404')
      assert.deepEqual(ok(await stranger.files.list(folder)), [])
    }
  })
})
