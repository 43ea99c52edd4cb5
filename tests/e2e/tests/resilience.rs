//! Parts of a whole stack are killed while learners write: what was acknowledged is there afterwards, nothing is half
//! done, and the stack comes back by itself.

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lyceum_e2e::{CHECK_PROGRESS, program, root};
use serde_json::{Value, json};
use uuid::Uuid;

const STACK: &str = "resilience";
const BUCKET: &str = "resilience";
const WRITING: &str = "c0000000-0000-4000-8000-000000000011";

/// Two free ports in a row, below those that systems give to outgoing connections: any of these may hold the default one.
fn port() -> &'static str {
    static PORT: OnceLock<String> = OnceLock::new();
    PORT.get_or_init(|| {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        (0..4000)
            .map(|step| {
                20_000 + (u16::try_from(std::process::id() % 4000).unwrap_or(0) + step) % 4000 * 2
            })
            .find(|port| free(*port) && free(port + 1))
            .unwrap_or(54321)
            .to_string()
    })
}

fn lyceum(arguments: &[&str]) -> Result<Output> {
    let output = Command::new(program())
        .current_dir(root())
        .env("LYCEUM_PORT", port())
        .args(["--stack", STACK])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!(
            "lyceum {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// Stops the stack even when the test fails.
struct Stack {
    addresses: HashMap<String, Value>,
}

impl Stack {
    fn up() -> Result<Self> {
        lyceum(&["up"])?;
        let status = lyceum(&["status", "-o", "json"])?;
        Ok(Self {
            addresses: serde_json::from_slice(&status.stdout)?,
        })
    }

    fn address(&self, name: &str) -> &str {
        self.addresses[name].as_str().unwrap_or_default()
    }

    /// The process ids of the parts, by name, as `lyceum status` shows them.
    fn parts() -> Vec<(String, String)> {
        let output = Command::new(program())
            .current_dir(root())
            .args(["--stack", STACK, "status"])
            .output();
        let text = output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let (before, after) = line.split_once(", process ")?;
                let pid = after.chars().take_while(char::is_ascii_digit).collect();
                Some((before.split_whitespace().next()?.to_owned(), pid))
            })
            .collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Err(error) = lyceum(&["down"]) {
            eprintln!("{error:#}");
        }
    }
}

fn kill(pid: &str) -> Result<()> {
    ensure!(
        Command::new("kill").args(["-9", pid]).status()?.success(),
        "cannot kill {pid}"
    );
    Ok(())
}

/// Processes that belong to the stack, by the variable that every one of them inherits.
fn processes_of_stack() -> Vec<String> {
    let marker = format!(".lyceum/stacks/{STACK}");
    let own = std::process::id().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own)
        .filter(|pid| {
            let read =
                |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let text = [read("cmdline"), read("environ")].concat();
            String::from_utf8_lossy(&text).contains(&marker)
        })
        .collect()
}

#[derive(Clone)]
struct Writer {
    http: reqwest::Client,
    api_url: String,
    key: String,
    token: String,
    user: Uuid,
}

impl Writer {
    async fn post(&self, path: &str, body: &Value, prefer: &str) -> Result<reqwest::Response> {
        let request = self
            .http
            .post(format!("{}{path}", self.api_url))
            .header("apikey", &self.key)
            .header("content-profile", "lms")
            .header("prefer", prefer)
            .bearer_auth(&self.token)
            .json(body);
        Ok(request.send().await?)
    }
}

/// Uploads a new file each time, and each time a new version of one, until told to stop. Returns the last number whose
/// files were both acknowledged, and all that were.
async fn upload_until(stop: Arc<AtomicBool>, service: Writer, name: String) -> Vec<u32> {
    let mut acknowledged = Vec::new();
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut both = true;
        for file in [format!("{name}-{number}"), name.clone()] {
            let answer = service
                .http
                .put(format!(
                    "{}/storage/v1/object/{BUCKET}/{file}",
                    service.api_url
                ))
                .bearer_auth(&service.token)
                .header("content-type", "text/plain")
                .body(number.to_string().repeat(1000))
                .send()
                .await;
            both &= answer.is_ok_and(|answer| answer.status().is_success());
        }
        if both {
            acknowledged.push(number);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    acknowledged
}

/// The files of the stack, and how many are half written.
fn stored_files() -> Result<(Vec<std::path::PathBuf>, usize)> {
    let root = root().join(format!(".lyceum/stacks/{STACK}/storage"));
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root.join("objects"))? {
        for file in std::fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    Ok((files, std::fs::read_dir(root.join("staging"))?.count()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killing_any_part_under_writes_loses_no_acknowledged_write() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stack = Stack::up()?;
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    let service = Writer {
        http: http.clone(),
        api_url: stack.address("API_URL").to_owned(),
        key: stack.address("SERVICE_ROLE_KEY").to_owned(),
        token: stack.address("SERVICE_ROLE_KEY").to_owned(),
        user: Uuid::nil(),
    };
    let (client, connection) =
        tokio_postgres::connect(stack.address("DB_URL"), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let unscheduled: Vec<String> = client
        .query(
            "select j.name from ops.jobs j
             where not exists (select from cron.job c where c.jobname = 'lyceum:' || j.name and c.active)",
            &[],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(unscheduled.is_empty(), "nobody runs {unscheduled:?}");
    let lessons: Vec<Uuid> = client
        .query(
            "select id from lms.lessons where course_id = $1",
            &[&WRITING.parse::<Uuid>()?],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    drop(client);
    let _ = connection.await;

    // Each writer: a new learner who enrols through the function, then reports ever growing percentages.
    let stop = Arc::new(AtomicBool::new(false));
    let writes = Arc::new(AtomicUsize::new(0));
    let acknowledged: Arc<Mutex<HashMap<(Uuid, Uuid), i32>>> = Arc::default();
    let mut writers = Vec::new();
    for _ in 0..6 {
        let email = format!("{}@resilience.example", Uuid::new_v4().simple());
        let created: Value = service
            .post(
                "/auth/v1/admin/users",
                &json!({ "email": email, "password": "long enough", "email_confirm": true }),
                "",
            )
            .await?
            .json()
            .await?;
        let user: Uuid = created["id"]
            .as_str()
            .with_context(|| format!("{created}"))?
            .parse()?;
        let anon = stack.address("ANON_KEY").to_owned();
        let session: Value = Writer {
            token: anon.clone(),
            key: anon.clone(),
            http: http.clone(),
            api_url: service.api_url.clone(),
            user,
        }
        .post(
            "/auth/v1/token?grant_type=password",
            &json!({ "email": email, "password": "long enough" }),
            "",
        )
        .await?
        .json()
        .await?;
        let token = session["access_token"]
            .as_str()
            .with_context(|| format!("{session}"))?
            .to_owned();
        let writer = Writer {
            http: http.clone(),
            api_url: service.api_url.clone(),
            key: anon,
            token,
            user,
        };
        let enrolled = writer
            .post(
                "/functions/v1/enrollment",
                &json!({ "course_id": WRITING }),
                "",
            )
            .await?;
        ensure!(enrolled.status() == 201, "{enrolled:?}");

        let (stop, writes, acknowledged, lessons) = (
            Arc::clone(&stop),
            Arc::clone(&writes),
            Arc::clone(&acknowledged),
            lessons.clone(),
        );
        writers.push(tokio::spawn(async move {
            'writing: for percentage in 1..=100 {
                for lesson in &lessons {
                    if stop.load(Ordering::Relaxed) {
                        break 'writing;
                    }
                    let row = json!({ "user_id": writer.user, "lesson_id": lesson, "progress_percentage": percentage });
                    let answer = writer.post("/rest/v1/lesson_progress", &row, "resolution=merge-duplicates").await;
                    if answer.is_ok_and(|answer| answer.status().is_success()) {
                        writes.fetch_add(1, Ordering::Relaxed);
                        if let Ok(mut all) = acknowledged.lock() {
                            all.insert((writer.user, *lesson), percentage);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
        }));
    }

    let bucket = service
        .post("/storage/v1/bucket", &json!({ "name": BUCKET }), "")
        .await?;
    // Left from an earlier run, perhaps.
    ensure!(
        bucket.status() == 200 || bucket.status() == 400,
        "{bucket:?}"
    );
    let run = Uuid::new_v4().simple().to_string();
    let uploads: Vec<_> = (0..2)
        .map(|n| {
            let name = format!("{run}-{n}");
            (
                name.clone(),
                tokio::spawn(upload_until(Arc::clone(&stop), service.clone(), name)),
            )
        })
        .collect();

    let parts = Stack::parts();
    let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
    for expected in ["postgres", "postgrest", "auth", "storage", "gateway"] {
        assert!(names.contains(&expected), "{expected} is a part: {names:?}");
    }
    for (name, pid) in &parts {
        kill(pid)?;
        let back = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            if Command::new(program())
                .current_dir(root())
                .args(["--stack", STACK, "status"])
                .output()?
                .status
                .success()
            {
                break;
            }
            assert!(
                back.elapsed() < Duration::from_secs(40),
                "{name} is not back:\n{:?}",
                lyceum(&["logs", name])
            );
        }
        assert!(
            !Stack::parts().contains(&(name.clone(), pid.clone())),
            "{name} was restarted as a new process"
        );
    }
    // However slow the machine is, there is something to compare.
    let begun = Instant::now();
    while writes.load(Ordering::Relaxed) <= 100 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "only {} writes were acknowledged",
            writes.load(Ordering::Relaxed)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await?;
    }
    let acknowledged = acknowledged
        .lock()
        .map(|all| all.clone())
        .unwrap_or_default();

    let mut uploaded = Vec::new();
    for (name, upload) in uploads {
        uploaded.push((name, upload.await?));
    }
    // What a process leaves that dies between the bytes and their row, if none did by chance.
    let some = stored_files()?.0;
    let some = some.first().context("files were stored")?;
    let folder = some.parent().context("a file lies in a folder")?;
    let prefix = folder.file_name().context("a folder has a name")?;
    let rest = &Uuid::new_v4().simple().to_string()[2..];
    std::fs::copy(
        some,
        folder.join(format!("{}{rest}", prefix.to_string_lossy())),
    )?;
    // Old enough to be told from uploads that are under way.
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 3600);
    for file in stored_files()?.0 {
        std::fs::File::open(file)?.set_modified(long_ago)?;
    }

    // The supervisor itself: killed, and everything started again by the same command.
    let supervisor =
        std::fs::read_to_string(root().join(format!(".lyceum/stacks/{STACK}/state.json")))?;
    let supervisor: Value = serde_json::from_str(&supervisor)?;
    kill(&supervisor["pid"].to_string())?;
    lyceum(&["up"])?;

    let (client, connection) =
        tokio_postgres::connect(stack.address("DB_URL"), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    for ((user, lesson), percentage) in &acknowledged {
        let row = client
            .query_one(
                "select progress_percentage::integer from lms.lesson_progress where user_id = $1 and lesson_id = $2",
                &[user, lesson],
            )
            .await
            .with_context(|| format!("an acknowledged row is missing: {user} {lesson} {percentage}"))?;
        assert!(
            row.get::<_, i32>(0) >= *percentage,
            "{user} {lesson}: {percentage} was acknowledged"
        );
    }
    for (name, acknowledged) in &uploaded {
        assert!(
            acknowledged.len() > 20,
            "only {} uploads of {name}",
            acknowledged.len()
        );
        let read = async |file: &str| -> Result<String> {
            let answer = http
                .get(format!(
                    "{}/storage/v1/object/{BUCKET}/{file}",
                    service.api_url
                ))
                .bearer_auth(&service.token)
                .send()
                .await?;
            ensure!(answer.status() == 200, "{file}: {answer:?}");
            Ok(answer.text().await?)
        };
        for number in acknowledged {
            let text = read(&format!("{name}-{number}")).await?;
            assert_eq!(text, number.to_string().repeat(1000), "{name}-{number}");
        }
        let last = read(name).await?;
        let newest = acknowledged.last().copied().unwrap_or_default();
        assert!(
            (newest..newest + 20).any(|number| last == number.to_string().repeat(1000)),
            "{name} is whole, and not older than {newest}"
        );
    }
    // Every row has its bytes, and no bytes are left without a row.
    let versions: Vec<String> = client
        .query("select replace(version, '-', '') from storage.objects", &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let begun = Instant::now();
    loop {
        let (files, staged) = stored_files()?;
        let missing = versions
            .iter()
            .find(|version| !files.iter().any(|file| file.ends_with(version)));
        assert_eq!(missing, None, "a row without bytes");
        if files.len() == versions.len() && staged == 0 {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{} rows, {} files, {staged} half written",
            versions.len(),
            files.len()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let half_done = client.query(CHECK_PROGRESS, &[]).await?;
    assert!(
        half_done.is_empty(),
        "counters differ from their facts: {half_done:?}"
    );

    lyceum(&["down"])?;
    assert_eq!(
        processes_of_stack(),
        Vec::<String>::new(),
        "`down` leaves no process"
    );
    Ok(())
}
