//! `lyceum logs`.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::files;
use crate::stack::Stack;

/// Prints the end of each log, and what is added if `follow`.
pub async fn run(stack: &Stack, part: Option<&str>, lines: usize, follow: bool) -> Result<()> {
    let mut logs = find(stack)?;
    if let Some(part) = part {
        let known: Vec<String> = logs.iter().map(|log| log.name.clone()).collect();
        logs.retain(|log| log.name == part);
        if logs.is_empty() {
            bail!("no log of {part}; there are: {}", known.join(", "));
        }
    }
    if logs.is_empty() {
        bail!("there are no logs yet: start the stack with `make up`");
    }
    let label = part.is_none();
    for log in &mut logs {
        print(log, &files::tail(&log.path, lines), label)?;
        log.read = std::fs::metadata(&log.path).map_or(0, |meta| meta.len());
    }
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for log in &mut logs {
            let added = log.added()?;
            print(log, &added, label)?;
        }
    }
}

struct Log {
    name: String,
    path: PathBuf,
    /// Bytes shown so far.
    read: u64,
}

impl Log {
    /// Whole lines that were added since the last time.
    fn added(&mut self) -> Result<String> {
        let length = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
        if length < self.read {
            // It was cut.
            self.read = 0;
        }
        if length == self.read {
            return Ok(String::new());
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(length - self.read).read_to_end(&mut bytes)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.read += whole as u64;
        Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
    }
}

fn find(stack: &Stack) -> Result<Vec<Log>> {
    let folder = stack.dir.join("logs");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut logs: Vec<Log> = std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| {
            Some(Log {
                name: path.file_stem()?.to_str()?.to_owned(),
                path,
                read: 0,
            })
        })
        .collect();
    logs.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(logs)
}

fn print(log: &Log, text: &str, label: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in text.lines() {
        if label {
            writeln!(out, "{:<20} | {line}", log.name)?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
