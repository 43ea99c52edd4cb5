//! Small helpers around files: private ones, atomic ones, locks, and the tail of a log.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Writes a file that only its owner may read (0600), so that readers see the old or the new text, never half of it.
///
/// # Errors
/// When the file or its folder cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text, 0o600)
}

/// Writes a file that everyone may read (0644), at once as [`write_private`] does.
///
/// # Errors
/// When the file or its folder cannot be written.
pub fn write_public(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text, 0o644)
}

fn write_atomically(path: &Path, text: &str, mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// An exclusive lock on a file, held until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl Lock {
    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn try_take(path: &Path) -> Result<Option<Self>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open the lock {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Waits for the lock, at most `limit`; says once on standard error that it waits for `what`.
    ///
    /// # Errors
    /// When the lock is still held after `limit`.
    pub fn take(path: &Path, what: &str, limit: Duration) -> Result<Self> {
        let start = Instant::now();
        let mut said = false;
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            if start.elapsed() > limit {
                bail!(
                    "waited {} s for {what} to end; if none is running, delete {}",
                    limit.as_secs(),
                    path.display()
                );
            }
            if !said && start.elapsed() > Duration::from_secs(2) {
                eprintln!("waiting for {what} to end ...");
                said = true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether some process holds the lock.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        path.exists() && matches!(Self::try_take(path), Ok(None))
    }
}

/// The last `lines` lines of a log (of its last 64 KiB); empty when there is none.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(64 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A value that changes whenever the file is replaced: its size, time and inode. Empty for a missing file.
#[must_use]
pub fn fingerprint(path: &Path) -> String {
    std::fs::metadata(path)
        .map(|meta| {
            format!(
                "{}-{}.{}-{}",
                meta.len(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ino()
            )
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_a_second_holder_until_it_is_dropped() {
        let path = std::env::temp_dir().join(format!("lyceum-lock-{}", uuid::Uuid::new_v4()));
        let first = Lock::try_take(&path).unwrap().unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        assert!(Lock::is_held(&path));
        drop(first);
        assert!(!Lock::is_held(&path));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let path = std::env::temp_dir().join(format!("lyceum-tail-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&path, 2), "two\nthree");
        assert_eq!(tail(Path::new("/nonexistent"), 2), "");
        std::fs::remove_file(path).unwrap();
    }
}
