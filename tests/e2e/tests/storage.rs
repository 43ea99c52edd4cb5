//! What somebody tries on stored files who writes requests by hand: paths that climb, bodies without end, tokens of their
//! own making, names of others, uploads that outlast their right.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use lyceum_e2e::{DEMO_PASSWORD, Options, Person, Sandbox, answer, shared};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
/// The tests count files and measure memory, so they take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const MIB: u64 = 1024 * 1024;

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: false,
            seed: true,
        },
    )
}

async fn demo(name: &str) -> Result<Person> {
    sandbox()
        .sign_in(&format!("{name}.example"), DEMO_PASSWORD)
        .await
}

/// A bucket in which everybody who is signed in may do everything.
async fn open_bucket(largest: u64) -> Result<String> {
    let bucket = format!("open-{}", Uuid::new_v4().simple());
    let body = json!({ "name": bucket, "file_size_limit": largest });
    let made = sandbox()
        .service()
        .call(Method::POST, "/storage/v1/bucket", &[], Some(&body))
        .await?;
    assert_eq!(made.status, 200, "{made:?}");
    let database = sandbox().database().await?;
    for (verb, rule) in [
        ("select", "using"),
        ("insert", "with check"),
        ("update", "using"),
        ("delete", "using"),
    ] {
        database
            .batch_execute(&format!(
                "create policy \"{bucket} {verb}\" on storage.objects for {verb} to authenticated {rule} (bucket_id = '{bucket}')"
            ))
            .await?;
    }
    Ok(bucket)
}

/// The answer to a request whose path is sent as it is written: clients tidy paths up before they send them.
struct Raw {
    status: u16,
    body: String,
    sent: u64,
}

async fn connect() -> Result<(TcpStream, String)> {
    let host = sandbox()
        .address("API_URL")
        .trim_start_matches("http://")
        .to_owned();
    Ok((TcpStream::connect(&host).await?, host))
}

async fn read_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<(u16, String)> {
    let mut bytes = Vec::new();
    // What came before the connection broke off is the answer.
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("no answer but {text:?}"))?;
    Ok((status, text))
}

/// Sends a head and `length` bytes after it, or as many as it takes until there is an answer.
async fn raw(person: &Person, method: &str, path: &str, extra: &str, length: u64) -> Result<Raw> {
    let (stream, host) = connect().await?;
    let (mut reader, mut writer) = stream.into_split();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {}\r\n{extra}\r\n",
        person.token
    );
    let chunked = extra.contains("chunked");
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        if writer.write_all(head.as_bytes()).await.is_err() {
            return sent;
        }
        let piece = vec![b'x'; 64 * 1024];
        while sent < length {
            let mut frame = Vec::new();
            if chunked {
                frame.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            }
            frame.extend_from_slice(&piece);
            if chunked {
                frame.extend_from_slice(b"\r\n");
            }
            if writer.write_all(&frame).await.is_err() {
                return sent;
            }
            sent += piece.len() as u64;
        }
        // Kept open until the answer has come.
        tokio::time::sleep(Duration::from_secs(60)).await;
        sent
    });
    let (status, body) = read_answer(&mut reader).await?;
    // The answer ends the connection, and with it the sending.
    let sent = if length == 0 {
        sending.abort();
        0
    } else if sending.is_finished() {
        sending.await?
    } else {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if sending.is_finished() {
            sending.await?
        } else {
            sending.abort();
            0
        }
    };
    Ok(Raw { status, body, sent })
}

/// Upload by one request; the answer's status is 200 or what `statusCode` says.
async fn upload(person: &Person, method: Method, place: &str, bytes: &'static [u8]) -> Result<u16> {
    let request = reqwest::Client::new()
        .request(
            method,
            format!("{}/storage/v1/object/{place}", sandbox().address("API_URL")),
        )
        .bearer_auth(&person.token)
        .header("content-type", "application/pdf")
        .body(bytes);
    code_of(&answer(request).await?)
}

fn code_of(answer: &lyceum_e2e::Answer) -> Result<u16> {
    if answer.status.is_success() {
        return Ok(200);
    }
    answer.body["statusCode"]
        .as_str()
        .with_context(|| format!("no statusCode: {answer:?}"))?
        .parse()
        .map_err(Into::into)
}

async fn ask(person: &Person, method: Method, path: &str, body: Option<&Value>) -> Result<u16> {
    code_of(
        &person
            .call(method, &format!("/storage/v1{path}"), &[], body)
            .await?,
    )
}

/// How many files lie on the disk: in their place, and half written.
fn files() -> Result<(usize, usize)> {
    let root = std::path::Path::new(sandbox().address("STORAGE_DIR"));
    let mut placed = 0;
    for folder in std::fs::read_dir(root.join("objects"))? {
        placed += std::fs::read_dir(folder?.path())?.count();
    }
    Ok((placed, std::fs::read_dir(root.join("staging"))?.count()))
}

/// Memory of the process in which gateway and storage run, in bytes.
fn memory() -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox().process()))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("a process has a size")?;
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .context("a size is a number")?
        .parse()?;
    Ok(kilobytes * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_climb_lead_nowhere() -> Result<()> {
    let _turn = TURN.lock().await;
    let lena = demo("lena@ironworks").await?;
    let bucket = open_bucket(MIB).await?;
    let before = files()?;
    let climbing = [
        "../../../../../../etc/passwd",
        "a/../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
        "%ff%fe",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "a//b",
        "a/./b",
        "a%00.pdf",
        "a%0d%0ax-injected:%20yes",
        "file%3a%2f%2f%2fetc%2fpasswd",
        "%e2%80%aefdp.exe",
        "%20",
        "",
    ];
    for name in climbing {
        for (method, prefix) in [
            ("GET", "object"),
            ("POST", "object"),
            ("PUT", "object"),
            ("DELETE", "object"),
            ("GET", "object/public"),
            ("GET", "object/authenticated"),
            ("GET", "object/info"),
            ("GET", "object/sign"),
            ("POST", "object/sign"),
            ("POST", "object/upload/sign"),
        ] {
            let path = format!("/storage/v1/{prefix}/{bucket}/{name}");
            let got = raw(&lena, method, &path, "content-length: 0\r\n", 0).await?;
            assert!(
                (400..500).contains(&got.status),
                "{method} {path}: {} {}",
                got.status,
                got.body
            );
            assert!(
                !got.body.contains("root:") && !got.body.to_lowercase().contains("\nx-injected"),
                "{method} {path}: {}",
                got.body
            );
        }
    }
    for key in ["../x", "a/../../x", "", "/x", "a\u{0}b", "é"] {
        for (method, path, body) in [
            (
                Method::POST,
                "/object/move",
                json!({ "bucketId": bucket, "sourceKey": key, "destinationKey": "x" }),
            ),
            (
                Method::POST,
                "/object/move",
                json!({ "bucketId": bucket, "sourceKey": "x", "destinationKey": key }),
            ),
            (
                Method::POST,
                "/object/copy",
                json!({ "bucketId": bucket, "sourceKey": "x", "destinationKey": key }),
            ),
            (
                Method::POST,
                "/object/copy",
                json!({ "bucketId": bucket, "sourceKey": "x", "destinationKey": "x", "destinationBucket": key }),
            ),
            (
                Method::DELETE,
                &format!("/object/{bucket}"),
                json!({ "prefixes": [key] }),
            ),
            (
                Method::POST,
                &format!("/object/list/{bucket}"),
                json!({ "prefix": format!("a/{key}/b") }),
            ),
        ] {
            let code = ask(&lena, method.clone(), path, Some(&body)).await?;
            assert!(matches!(code, 400 | 404), "{method} {path} {body}: {code}");
        }
    }
    assert_eq!(files()?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_bodies_are_refused_early_and_in_bounded_memory() -> Result<()> {
    let _turn = TURN.lock().await;
    let lena = demo("lena@ironworks").await?;
    let bucket = open_bucket(MIB).await?;
    let before = (files()?, memory()?);
    let path = format!("/storage/v1/object/{bucket}/large");
    let gigabyte = 1024 * MIB;
    let form = "content-type: multipart/form-data; boundary=b\r\n";
    for (what, extra, most_sent) in [
        // Said beforehand: answered before it comes, and what comes meanwhile is thrown away.
        (
            "announced",
            format!("content-length: {gigabyte}\r\n"),
            80 * MIB,
        ),
        (
            "announced, just over",
            format!("content-length: {}\r\n", 2 * MIB),
            2 * MIB,
        ),
        (
            "not announced",
            "transfer-encoding: chunked\r\n".to_owned(),
            140 * MIB,
        ),
        (
            "a form",
            format!("{form}transfer-encoding: chunked\r\n"),
            140 * MIB,
        ),
        (
            "a form, announced",
            format!("{form}content-length: {gigabyte}\r\n"),
            80 * MIB,
        ),
    ] {
        let length = if what.ends_with("just over") {
            2 * MIB
        } else {
            gigabyte
        };
        let start = Instant::now();
        let got = raw(&lena, "POST", &path, &extra, length).await?;
        assert!(matches!(got.status, 400 | 413), "{what}: {}", got.body);
        assert!(
            got.body.contains("\"statusCode\":\"413\"") || what == "a form",
            "{what}: {}",
            got.body
        );
        assert!(
            got.sent <= most_sent,
            "{what}: {} bytes were taken",
            got.sent
        );
        assert!(
            start.elapsed() < Duration::from_secs(25),
            "{what}: {:?}",
            start.elapsed()
        );
    }
    assert_eq!(files()?, before.0);
    let grown = memory()?.saturating_sub(before.1);
    assert!(grown < 48 * MIB, "memory grew by {grown} bytes");
    // A form whose first line never ends, and one with a field that is no file and does not end.
    for beginning in [
        "",
        "--b\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n",
    ] {
        let body = format!("{beginning}{}", "x".repeat(900_000));
        let request = reqwest::Client::new()
            .post(format!("{}{path}", sandbox().address("API_URL")))
            .bearer_auth(&lena.token)
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body);
        assert_eq!(code_of(&answer(request).await?)?, 400);
    }
    assert_eq!(files()?, before.0);
    // Still alive and well.
    assert_eq!(
        upload(&lena, Method::POST, &format!("{bucket}/small"), b"x").await?,
        200
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let lena = demo("lena@ironworks").await?;
    let bucket = open_bucket(MIB).await?;
    let (mut stream, host) = connect().await?;
    let head = format!(
        "POST /storage/v1/object/{bucket}/half HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n0123456789",
        lena.token
    );
    stream.write_all(head.as_bytes()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(10);
    let count = "select count(*) from storage.objects where bucket_id = $1";
    let database = sandbox().database().await?;
    loop {
        let rows: i64 = database.query_one(count, &[&bucket]).await?.get(0);
        if files()?.1 == 0 && rows == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{:?} files and {rows} rows are left", files()?);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_ones_own_making_open_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let lena = demo("lena@ironworks").await?;
    let bucket = open_bucket(MIB).await?;
    let (mine, other) = (format!("{bucket}/mine"), format!("{bucket}/other"));
    for place in [&mine, &other] {
        assert_eq!(upload(&lena, Method::POST, place, b"secret").await?, 200);
    }
    let token_in = |answer: &lyceum_e2e::Answer, field: &str| -> Result<String> {
        Ok(answer.body[field]
            .as_str()
            .and_then(|url| url.split_once("token="))
            .with_context(|| format!("no token: {answer:?}"))?
            .1
            .to_owned())
    };
    let signed = lena
        .call(
            Method::POST,
            &format!("/storage/v1/object/sign/{mine}"),
            &[],
            Some(&json!({ "expiresIn": 60 })),
        )
        .await?;
    let good = token_in(&signed, "signedURL")?;
    let new = format!("{bucket}/new");
    let signed = lena
        .call(
            Method::POST,
            &format!("/storage/v1/object/upload/sign/{new}"),
            &[],
            Some(&json!({})),
        )
        .await?;
    let for_upload = token_in(&signed, "url")?;

    let client = reqwest::Client::new();
    let api = sandbox().address("API_URL");
    let get = async |place: &str, token: &str| -> Result<u16> {
        let url = format!("{api}/storage/v1/object/sign/{place}?token={token}");
        code_of(&answer(client.get(url)).await?)
    };
    let put = async |place: &str, token: &str| -> Result<u16> {
        let url = format!("{api}/storage/v1/object/upload/sign/{place}?token={token}");
        code_of(
            &answer(
                client
                    .put(url)
                    .header("content-type", "text/plain")
                    .body("x"),
            )
            .await?,
        )
    };
    assert_eq!(get(&mine, &good).await?, 200);

    let now = chrono::Utc::now().timestamp();
    let claims = json!({ "url": mine, "for": "download", "iat": now, "exp": now + 60, "role": "service_role" });
    let by_secret = sandbox().token(&claims)?;
    let (head, rest) = good.split_once('.').context("a token has parts")?;
    let (body, signature) = rest.split_once('.').context("a token has parts")?;
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for forged in [
        String::new(),
        "x".to_owned(),
        "x.y.z".to_owned(),
        by_secret,
        lena.token.clone(),
        sandbox().address("ANON_KEY").to_owned(),
        sandbox().address("SERVICE_ROLE_KEY").to_owned(),
        for_upload.clone(),
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", "A".repeat(43)),
        format!("{head}.{body}x.{signature}"),
        "a".repeat(7000),
    ] {
        assert_eq!(get(&mine, &forged).await?, 400, "{forged}");
        assert_eq!(put(&mine, &forged).await?, 400, "{forged}");
        if forged != for_upload {
            assert_eq!(put(&new, &forged).await?, 400, "{forged}");
        }
    }
    assert_eq!(get(&other, &good).await?, 400, "a token is for one object");
    assert_eq!(
        put(&other, &for_upload).await?,
        400,
        "a token is for one object"
    );
    assert_eq!(
        put(&mine, &good).await?,
        400,
        "a token to read is none to write"
    );
    // As a user's token, too, it is worth nothing.
    let bearer = sandbox().bearer(Uuid::nil(), &good);
    assert_eq!(
        bearer.get("/rest/v1/courses").await?.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        ask(&bearer, Method::GET, &format!("/object/{mine}"), None).await?,
        400
    );
    // Roles that are the database's own.
    for role in [
        "postgres",
        "supabase_storage_admin",
        "supabase_admin",
        "authenticator",
        "none",
        "",
    ] {
        let token = sandbox().token(&json!({ "sub": lena.id, "role": role }))?;
        let code = ask(
            &sandbox().bearer(lena.id, &token),
            Method::GET,
            &format!("/object/{mine}"),
            None,
        )
        .await?;
        assert_eq!(code, 403, "{role:?}");
    }
    let old =
        sandbox().token(&json!({ "sub": lena.id, "role": "authenticated", "exp": now - 1 }))?;
    assert_eq!(
        ask(
            &sandbox().bearer(lena.id, &old),
            Method::GET,
            &format!("/object/{mine}"),
            None
        )
        .await?,
        400
    );
    assert_eq!(put(&new, &for_upload).await?, 200, "the good one was good");
    assert_eq!(
        get(&new, &for_upload).await?,
        400,
        "a token to write is none to read"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ranges_and_types_are_answered() -> Result<()> {
    let _turn = TURN.lock().await;
    let lena = demo("lena@ironworks").await?;
    let bucket = open_bucket(MIB).await?;
    let place = format!("{bucket}/file");
    assert_eq!(
        upload(&lena, Method::POST, &place, b"0123456789").await?,
        200
    );
    let many = format!("bytes={}", "0-1,".repeat(5000));
    for (range, expected) in [
        ("bytes=0-18446744073709551616", 206),
        ("bytes=18446744073709551616-", 416),
        ("bytes=-18446744073709551616", 206),
        ("bytes=-0", 416),
        ("bytes=10-", 416),
        ("bytes=", 200),
        ("bytes=-", 200),
        ("bytes=a-b", 200),
        ("bytes = 1-2", 200),
        (&many, 200),
    ] {
        let got = lena
            .call(
                Method::GET,
                &format!("/storage/v1/object/{place}"),
                &[("range", range)],
                None,
            )
            .await?;
        assert_eq!(got.status, expected, "{}", &range[..range.len().min(60)]);
    }
    for kind in [
        "text",
        "text/html\u{1}",
        "a/b/c",
        "multipart/form-data",
        "multipart/form-data; boundary=",
    ] {
        let request = reqwest::Client::new()
            .post(format!(
                "{}/storage/v1/object/{bucket}/kind",
                sandbox().address("API_URL")
            ))
            .bearer_auth(&lena.token)
            .header(
                "content-type",
                reqwest::header::HeaderValue::from_bytes(kind.as_bytes())
                    .unwrap_or(reqwest::header::HeaderValue::from_static("text")),
            )
            .body("x");
        let code = code_of(&answer(request).await?)?;
        assert!(matches!(code, 400 | 415), "{kind}: {code}");
    }
    for body in [
        "",
        "[]",
        "{",
        "{\"prefixes\": \"x\"}",
        "{\"prefixes\": [null]}",
    ] {
        let request = reqwest::Client::new()
            .delete(format!(
                "{}/storage/v1/object/{bucket}",
                sandbox().address("API_URL")
            ))
            .bearer_auth(&lena.token)
            .body(body);
        assert_eq!(code_of(&answer(request).await?)?, 400, "{body}");
    }
    Ok(())
}

// Hand-ins --------------------------------------------------------------------------------------------------------------

/// An open attempt of a demo learner with a question that takes two PDFs.
struct Attempt {
    id: Uuid,
    folder: String,
}

impl Attempt {
    async fn of(person: &Person) -> Result<Self> {
        let database = sandbox().database().await?;
        let (enrollment, tenant, course, version, assessment, question) =
            Self::question_for(&database, person).await?;
        let revision = Uuid::new_v4();
        let id = Uuid::new_v4();
        database
            .execute(
                "insert into lms.question_revisions (id, tenant_id, course_id, assessment_id, question_id, question_key, content_hash, type, prompt, content, points, scoring, skill_ids)
                 select $1, q.tenant_id, q.course_id, q.assessment_id, q.id, q.question_key, 'hash', q.type, q.prompt, q.content, q.points, q.scoring, '{}' from lms.questions q where q.id = $2",
                &[&revision, &question],
            )
            .await?;
        database
            .execute(
                "insert into lms.assessment_attempts (id, tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number) values ($1, $2, $3, $4, $5, $6, $7, 1)",
                &[&id, &tenant, &course, &person.id, &enrollment, &version, &assessment],
            )
            .await?;
        database
            .execute(
                "insert into lms.attempt_questions (attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, points) values ($1, $2, $3, $4, $5, $6, 0, 1)",
                &[&id, &question, &tenant, &course, &person.id, &revision],
            )
            .await?;
        Ok(Self {
            id,
            folder: format!("hand-ins/{tenant}/{id}/{question}"),
        })
    }

    /// A question of an assessment of a course that the person takes, and the ids around it.
    async fn question_for(
        database: &tokio_postgres::Client,
        person: &Person,
    ) -> Result<(Uuid, Uuid, Uuid, Uuid, Uuid, Uuid)> {
        let e = database
            .query_one(
                "select id, tenant_id, course_id, version_id from lms.enrollments where user_id = $1 and status in ('enrolled', 'in_progress') order by created_at limit 1",
                &[&person.id],
            )
            .await?;
        let (enrollment, tenant, course, version): (Uuid, Uuid, Uuid, Uuid) =
            (e.get(0), e.get(1), e.get(2), e.get(3));
        let assessment: Uuid = database
            .query_one(
                "insert into lms.assessments (course_id, title, is_published) values ($1, $2::text, false) returning id",
                &[&course, &format!("Hand in {}", Uuid::new_v4())],
            )
            .await?
            .get(0);
        // Without triggers: a published version takes nothing more.
        database
            .batch_execute("set session_replication_role = replica")
            .await?;
        database
            .execute(
                "insert into lms.version_assessments (version_id, assessment_id, tenant_id, course_id, key, kind, title, instructions, is_mandatory, weight, grading_method, order_index)
                 select $1, a.id, a.tenant_id, a.course_id, a.key, a.kind, a.title, '', false, 0, 'best', 999 from lms.assessments a where a.id = $2",
                &[&version, &assessment],
            )
            .await?;
        database
            .batch_execute("reset session_replication_role")
            .await?;
        let question: Uuid = database
            .query_one(
                "insert into lms.questions (assessment_id, type, prompt, content) values ($1, 'file_upload', 'Show it.', '{\"max_files\": 2, \"extensions\": [\"pdf\"]}') returning id",
                &[&assessment],
            )
            .await?
            .get(0);
        Ok((enrollment, tenant, course, version, assessment, question))
    }

    /// Hands the attempt in. Returns how many files it has at that moment.
    async fn hand_in(&self) -> Result<i64> {
        let mut database = sandbox().database().await?;
        let transaction = database.transaction().await?;
        transaction
            .execute(
                "update lms.assessment_attempts set status = 'submitted', submitted_at = now(), closed_by = 'learner' where id = $1",
                &[&self.id],
            )
            .await?;
        let files = transaction
            .query_one(
                "select count(*) from storage.objects where path_tokens[2] = $1",
                &[&self.id.to_string()],
            )
            .await?
            .get(0);
        transaction.commit().await?;
        Ok(files)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_handed_in_are_for_their_learner_and_graders_and_stay_as_they_were() -> Result<()> {
    let _turn = TURN.lock().await;
    let (lena, mia, ada) = (
        demo("lena@ironworks").await?,
        demo("mia@ironworks").await?,
        demo("ada@ironworks").await?,
    );
    let petra = demo("petra@fieldnotes").await?;
    let attempt = Attempt::of(&lena).await?;
    let file = format!("{}/report.pdf", attempt.folder);
    for stranger in [&mia, &ada, &petra, &sandbox().anonymous()] {
        assert_eq!(upload(stranger, Method::POST, &file, b"x").await?, 403);
    }
    assert_eq!(upload(&lena, Method::POST, &file, b"report").await?, 200);
    assert_eq!(
        upload(
            &lena,
            Method::POST,
            &format!("{}/r.exe", attempt.folder),
            b"x"
        )
        .await?,
        403
    );
    let read = format!("/object/{file}");
    assert_eq!(ask(&lena, Method::GET, &read, None).await?, 200);
    assert_eq!(ask(&ada, Method::GET, &read, None).await?, 200);
    let sign = json!({ "expiresIn": 60 });
    for stranger in [&mia, &petra, &sandbox().anonymous()] {
        assert_eq!(ask(stranger, Method::GET, &read, None).await?, 404);
        assert_eq!(
            ask(stranger, Method::GET, &format!("/object/info/{file}"), None).await?,
            404
        );
        assert_eq!(
            ask(
                stranger,
                Method::POST,
                &format!("/object/sign/{file}"),
                Some(&sign)
            )
            .await?,
            404
        );
        assert_eq!(ask(stranger, Method::DELETE, &read, None).await?, 404);
        let listed = stranger
            .call(
                Method::POST,
                "/storage/v1/object/list/hand-ins",
                &[],
                Some(&json!({ "prefix": attempt.folder.trim_start_matches("hand-ins/") })),
            )
            .await?;
        assert_eq!(listed.body, json!([]));
    }
    assert_eq!(
        ask(&ada, Method::DELETE, &read, None).await?,
        404,
        "graders take nothing away"
    );

    // A URL for a later upload, and an upload that is under way, when the attempt is handed in.
    let late = format!("{}/late.pdf", attempt.folder);
    let signed = lena
        .call(
            Method::POST,
            &format!("/storage/v1/object/upload/sign/{late}"),
            &[],
            Some(&json!({})),
        )
        .await?;
    let url = signed.body["url"]
        .as_str()
        .context("a signed URL")?
        .to_owned();
    let before = files()?.0;
    let (mut stream, host) = connect().await?;
    let head = format!(
        "POST /storage/v1/object/{}/slow.pdf HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/pdf\r\ncontent-length: 20\r\n\r\n0123456789",
        attempt.folder, lena.token
    );
    stream.write_all(head.as_bytes()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    attempt.hand_in().await?;
    stream.write_all(b"0123456789").await?;
    let (status, body) = read_answer(&mut stream).await?;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("\"403\""), "{body}");
    let put = reqwest::Client::new()
        .put(format!("{}/storage/v1{url}", sandbox().address("API_URL")))
        .body("late");
    assert_eq!(code_of(&answer(put).await?)?, 403);
    for method in [Method::POST, Method::PUT] {
        assert_eq!(upload(&lena, method, &late, b"late").await?, 403);
    }
    assert_eq!(upload(&lena, Method::PUT, &file, b"better").await?, 403);
    // The service role uploads no more either: it is what the real service writes with.
    assert_eq!(
        upload(&sandbox().service(), Method::PUT, &file, b"forged").await?,
        403
    );
    assert_eq!(ask(&lena, Method::DELETE, &read, None).await?, 404);
    let moved = json!({ "bucketId": "hand-ins", "sourceKey": file.trim_start_matches("hand-ins/"), "destinationKey": late.trim_start_matches("hand-ins/") });
    assert_eq!(
        ask(&lena, Method::POST, "/object/move", Some(&moved)).await?,
        403
    );
    assert_eq!(
        ask(&lena, Method::POST, "/object/copy", Some(&moved)).await?,
        403
    );
    let kept = lena
        .call(Method::GET, &format!("/storage/v1{read}"), &[], None)
        .await?;
    assert_eq!(kept.body, json!("report"));
    assert_eq!(files()?.0, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_upload_slips_past_the_count_or_the_handing_in() -> Result<()> {
    let _turn = TURN.lock().await;
    let ruth = demo("ruth@ironworks").await?;
    let rounds: usize = std::env::var("LYCEUM_RACES")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(30);
    for _ in 0..rounds.min(20) {
        let attempt = Attempt::of(&ruth).await?;
        let uploads = (0..20).map(|n| {
            let (ruth, place) = (ruth.clone(), format!("{}/{n}.pdf", attempt.folder));
            async move { upload(&ruth, Method::POST, &place, b"x").await }
        });
        let codes: Vec<u16> = join_all(uploads).await.into_iter().collect::<Result<_>>()?;
        let taken = codes.iter().filter(|code| **code == 200).count();
        assert_eq!(taken, 2, "{codes:?}");
        assert!(
            codes.iter().all(|code| matches!(code, 200 | 403)),
            "{codes:?}"
        );
    }
    let database = sandbox().database().await?;
    for round in 0..rounds.min(200) {
        let attempt = Attempt::of(&ruth).await?;
        let place = format!("{}/{round}.pdf", attempt.folder);
        let (code, handed_in) = tokio::join!(upload(&ruth, Method::POST, &place, b"x"), async {
            tokio::time::sleep(Duration::from_millis(round as u64 % 20)).await;
            attempt.hand_in().await
        });
        let (code, seen) = (code?, handed_in?);
        assert!(matches!(code, 200 | 403), "round {round}: {code}");
        let name = place.trim_start_matches("hand-ins/");
        let rows: i64 = database
            .query_one(
                "select count(*) from storage.objects where bucket_id = 'hand-ins' and name = $1",
                &[&name],
            )
            .await?
            .get(0);
        assert_eq!(
            rows == 1,
            code == 200,
            "round {round}: {code} and {rows} rows"
        );
        assert_eq!(
            rows, seen,
            "round {round}: what is there was there when it was handed in"
        );
    }
    Ok(())
}
