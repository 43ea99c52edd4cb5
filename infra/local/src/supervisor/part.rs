//! One child of the supervisor.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::process::Child;

use crate::files;
use crate::process::{self, Launch};

/// Deaths in a row after which a part is given up until somebody asks again.
const MOST_FAILURES: u32 = 6;
/// A part that lived this long counts as healthy again.
const HEALTHY_AFTER: Duration = Duration::from_secs(20);
/// Pause before the first restart; it doubles with every further death.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What a part is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Not started yet: it needs the database.
    Waiting,
    /// Started.
    Running,
    /// Died, and will be started again.
    Restarting,
    /// Died too often in a row.
    Failed,
}

/// A child with the rules of its life.
pub struct Part {
    pub name: String,
    pub log: PathBuf,
    pub needs_database: bool,
    pub stop_signal: Signal,
    pub stop_patience: Duration,
    pub condition: Condition,
    pub last_end: Option<String>,
    pub starts: u32,
    /// Its executable: when that changes, [`Part::renew`] restarts the part.
    program: PathBuf,
    fingerprint: String,
    launch: Box<dyn Fn() -> Result<Launch>>,
    child: Option<Child>,
    started: Instant,
    failures: u32,
    not_before: Instant,
}

impl Part {
    pub fn new(
        name: &str,
        log: PathBuf,
        program: PathBuf,
        launch: impl Fn() -> Result<Launch> + 'static,
    ) -> Self {
        let now = Instant::now();
        Self {
            name: name.to_owned(),
            log,
            needs_database: true,
            stop_signal: Signal::SIGTERM,
            stop_patience: Duration::from_secs(3),
            condition: Condition::Waiting,
            last_end: None,
            starts: 0,
            program,
            fingerprint: String::new(),
            launch: Box::new(launch),
            child: None,
            started: now,
            failures: 0,
            not_before: now,
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Notices a death; starts what should run.
    pub fn look_after(&mut self) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => {
                    if self.started.elapsed() > HEALTHY_AFTER {
                        self.failures = 0;
                    }
                    return;
                }
                Ok(Some(status)) => self.died(&format!("ended: {status}")),
                Err(error) => self.died(&format!("is lost: {error}")),
            }
        }
        if self.condition != Condition::Failed && Instant::now() >= self.not_before {
            self.start();
        }
    }

    fn start(&mut self) {
        self.fingerprint = files::fingerprint(&self.program);
        self.started = Instant::now();
        self.starts += 1;
        match (self.launch)().and_then(|launch| launch.start()) {
            Ok(child) => {
                self.child = Some(child);
                self.condition = Condition::Running;
            }
            Err(error) => self.died(&format!("did not start: {error:#}")),
        }
    }

    fn died(&mut self, how: &str) {
        self.child = None;
        self.failures += 1;
        self.last_end = Some(how.to_owned());
        let given_up = self.failures >= MOST_FAILURES;
        self.condition = if given_up {
            Condition::Failed
        } else {
            Condition::Restarting
        };
        self.not_before =
            Instant::now() + FIRST_PAUSE * 2_u32.pow(self.failures.min(MOST_FAILURES) - 1);
        process::note(
            &self.log,
            &format!(
                "{} {how}{}",
                self.name,
                if given_up { "; given up" } else { "" }
            ),
        );
    }

    /// Restarts a part whose program was replaced.
    pub async fn renew(&mut self) {
        if self.child.is_some() && self.fingerprint != files::fingerprint(&self.program) {
            process::note(&self.log, &format!("{} was rebuilt; restarting", self.name));
            self.stop().await;
            self.condition = Condition::Restarting;
        }
    }

    /// Ends the child: politely first.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        if let Some(pid) = child.id() {
            process::signal(pid, self.stop_signal);
        }
        if tokio::time::timeout(self.stop_patience, child.wait())
            .await
            .is_err()
        {
            // It is gone or cannot be killed; there is nothing more to try.
            let _ = child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(command: &[&str]) -> Part {
        let folder = std::env::temp_dir().join(format!("lyceum-part-{}", uuid::Uuid::new_v4()));
        let launch = Launch {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: Vec::new(),
            unprivileged: false,
            when_parent_dies: "KILL",
            log: folder.join("part.log"),
            stack_dir: folder.clone(),
        };
        Part::new(
            "part",
            folder.join("part.log"),
            PathBuf::from("/bin/sh"),
            move || Ok(launch.clone()),
        )
    }

    #[tokio::test]
    async fn a_part_that_always_dies_is_given_up_and_its_end_is_told() {
        let mut part = part(&["sh", "-c", "echo no luck; exit 3"]);
        while part.condition != Condition::Failed {
            part.look_after();
            part.not_before = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(part.starts, MOST_FAILURES);
        assert!(part.last_end.unwrap().contains("exit status: 3"));
        assert!(files::tail(&part.log, 20).contains("no luck"));
        part.condition = Condition::Restarting;
        std::fs::remove_dir_all(part.log.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_killed_part_comes_back() {
        let mut part = part(&["sleep", "100"]);
        part.look_after();
        let first = part.pid().unwrap();
        process::signal(first, Signal::SIGKILL);
        let deadline = Instant::now() + Duration::from_secs(10);
        while part.pid().is_none_or(|pid| pid == first) && Instant::now() < deadline {
            part.look_after();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_ne!(part.pid(), Some(first));
        assert_eq!(part.condition, Condition::Running);
        part.stop().await;
        assert_eq!(part.pid(), None);
        std::fs::remove_dir_all(part.log.parent().unwrap()).unwrap();
    }
}
