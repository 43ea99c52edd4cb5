//! Starting children that cannot outlive their parent, and finding every process of a stack again.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

/// Every process of a stack carries this variable with the stack's folder: it is how `down` finds them all.
pub const MARKER: &str = "LYCEUM_STACK_DIR";

/// A log larger than this is cut when its part starts.
const LARGEST_LOG: u64 = 20 * 1024 * 1024;

/// The account under which parts run when `lyceum` itself runs as root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Login name.
    pub name: String,
}

/// The unprivileged account for databases and services, or `None` when `lyceum` itself is unprivileged.
///
/// # Errors
/// When running as root on a machine with neither `postgres` nor `nobody`.
pub fn service_account() -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(Account {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                name: user.name,
            }));
        }
    }
    anyhow::bail!(
        "neither user postgres nor nobody exists; the database server refuses to run as root"
    )
}

/// Whether `account` can walk from the root folder down to `path` (reading it is not asked).
#[must_use]
pub fn reachable(path: &Path, account: &Account) -> bool {
    path.ancestors().skip(1).all(|folder| {
        folder.as_os_str().is_empty()
            || std::fs::metadata(folder).is_ok_and(|meta| {
                let shift = if meta.uid() == account.uid {
                    6
                } else if meta.gid() == account.gid {
                    3
                } else {
                    0
                };
                meta.permissions().mode() >> shift & 1 == 1
            })
    })
}

/// A child process to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables added to the inherited environment.
    pub env: Vec<(String, String)>,
    /// Whether to run under [`service_account`] when root.
    pub unprivileged: bool,
    /// The signal that the child gets when its parent dies (`INT` is PostgreSQL's fast shutdown).
    pub when_parent_dies: &'static str,
    /// Where both output streams go, appended.
    pub log: PathBuf,
    /// Value of [`MARKER`].
    pub stack_dir: PathBuf,
}

impl Launch {
    /// Starts the child. Call it from the main thread: the kernel ties the death signal to the starting THREAD.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not started.
    pub fn start(&self) -> Result<tokio::process::Child> {
        let mut command = self.command(self.when_parent_dies)?;
        command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.command.join(" ")))
    }

    /// Starts the child in a session of its own, so that it outlives its parent.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not started.
    pub fn start_detached(&self) -> Result<tokio::process::Child> {
        let mut launch = self.clone();
        launch.command.insert(0, "setsid".to_owned());
        launch
            .command("")?
            .spawn()
            .with_context(|| format!("cannot start {}", self.command.join(" ")))
    }

    fn command(&self, death_signal: &str) -> Result<tokio::process::Command> {
        let mut words: Vec<String> = Vec::new();
        if self.unprivileged
            && let Some(account) = service_account()?
        {
            words.extend([
                "setpriv".to_owned(),
                format!("--reuid={}", account.uid),
                format!("--regid={}", account.gid),
                "--clear-groups".to_owned(),
            ]);
        }
        if !death_signal.is_empty() {
            if words.is_empty() {
                words.push("setpriv".to_owned());
            }
            words.extend(["--pdeathsig".to_owned(), death_signal.to_owned()]);
        }
        words.extend(self.command.iter().cloned());
        let mut command = tokio::process::Command::new(&words[0]);
        command
            .args(&words[1..])
            .env(MARKER, &self.stack_dir)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if self.unprivileged {
            // The home of the caller is none of theirs.
            command.env("HOME", "/nonexistent").current_dir("/");
        }
        let log = open_log(&self.log)?;
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

fn open_log(path: &Path) -> Result<std::fs::File> {
    let open = || -> std::io::Result<std::fs::File> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if file.metadata()?.len() > LARGEST_LOG {
            file.set_len(0)?;
        }
        Ok(file)
    };
    open().with_context(|| format!("cannot open the log {}", path.display()))
}

/// Adds one line of ours to a part's log.
pub fn note(path: &Path, line: &str) {
    if let Ok(mut file) = open_log(path) {
        // A log that cannot be written must not stop the part that it belongs to.
        let _ = writeln!(file, "lyceum: {line}");
    }
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Ok(raw) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(raw), signal);
    }
}

/// Whether a process exists and is no zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}

/// The command line of a process, words separated by blanks; empty when it is gone or not ours to see.
#[must_use]
pub fn command_line(pid: u32) -> String {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .map(|bytes| {
            String::from_utf8_lossy(&bytes)
                .trim_end_matches('\0')
                .replace('\0', " ")
        })
        .unwrap_or_default()
}

/// The stack folder that a process carries in its environment, if it belongs to any stack.
#[must_use]
pub fn stack_of(pid: u32) -> Option<PathBuf> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{MARKER}=");
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(prefix.as_bytes()))
        .map(|value| PathBuf::from(String::from_utf8_lossy(value).into_owned()))
}

/// All living processes of a stack, without the caller itself.
#[must_use]
pub fn of_stack(stack_dir: &Path) -> Vec<u32> {
    all()
        .into_iter()
        .filter(|pid| alive(*pid) && stack_of(*pid).is_some_and(|dir| dir == stack_dir))
        .collect()
}

/// Every process id of the machine but the caller's.
#[must_use]
pub fn all() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
        })
        .filter(|pid| *pid != std::process::id())
        .collect()
}

/// Ends every process of a stack: PostgreSQL's fast shutdown first, then TERM, then KILL after `patience`.
pub fn end_all(stack_dir: &Path, patience: Duration) {
    for pid in of_stack(stack_dir) {
        // INT is the fast shutdown of a postmaster and ends the others as well.
        signal(pid, Signal::SIGINT);
        signal(pid, Signal::SIGCONT);
    }
    let start = Instant::now();
    let mut asked_again = false;
    loop {
        let left = of_stack(stack_dir);
        if left.is_empty() {
            return;
        }
        if start.elapsed() > patience {
            for pid in left {
                signal(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(100));
            return;
        }
        if !asked_again && start.elapsed() > patience / 2 {
            asked_again = true;
            for pid in left {
                signal(pid, Signal::SIGTERM);
            }
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A copy of `program` that `account` can execute: the program itself where its folders let it, else a copy in `bin`.
///
/// # Errors
/// When the copy cannot be made.
pub fn executable_for(program: &Path, account: Option<&Account>, bin: &Path) -> Result<PathBuf> {
    let program = program
        .canonicalize()
        .with_context(|| format!("{} does not exist", program.display()))?;
    let Some(account) = account else {
        return Ok(program);
    };
    if reachable(&program, account) {
        return Ok(program);
    }
    std::fs::create_dir_all(bin)?;
    let copy = bin.join(program.file_name().unwrap_or(OsStr::new("program")));
    let (source, made) = (std::fs::metadata(&program)?, std::fs::metadata(&copy));
    if !made.is_ok_and(|made| made.len() == source.len() && made.mtime() >= source.mtime()) {
        let draft = copy.with_extension(format!("{}", std::process::id()));
        std::fs::copy(&program, &draft)?;
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&draft, &copy)?;
    }
    Ok(copy)
}
