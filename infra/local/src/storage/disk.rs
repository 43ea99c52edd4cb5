//! The bytes: one file per version of an object, named by the version alone.
//!
//! A file is written in the folder `staging`, brought to the disk, and renamed into place; only then may a row name it.
//! Files never change afterwards, so whoever has one open reads one version to its end.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use uuid::Uuid;

use super::error::{Result, StorageError};

/// The folders of a stack's bytes.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    objects: PathBuf,
    staging: PathBuf,
}

impl Disk {
    /// Opens the folder, making it if missing. What an earlier process left half written is removed.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let disk = Self {
            objects: folder.join("objects"),
            staging: folder.join("staging"),
        };
        // It may not be there.
        let _ = std::fs::remove_dir_all(&disk.staging);
        for folder in [&disk.objects, &disk.staging] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the storage folder {}", folder.display()))?;
        }
        Ok(disk)
    }

    /// Whether the folders are there.
    pub(super) fn check(&self) -> Result<()> {
        for folder in [&self.objects, &self.staging] {
            std::fs::metadata(folder).map_err(StorageError::disk)?;
        }
        Ok(())
    }

    /// Where a version lies: below a folder of its first two digits. A UUID cannot climb out of a folder.
    fn path(&self, version: Uuid) -> PathBuf {
        let name = version.simple().to_string();
        self.objects.join(&name[..2]).join(name)
    }

    /// Begins a new version.
    pub(super) async fn begin(&self) -> Result<Draft> {
        let version = Uuid::new_v4();
        let path = self.staging.join(version.simple().to_string());
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .await
            .map_err(StorageError::disk)?;
        Ok(Draft {
            disk: self.clone(),
            version,
            remover: Remover(Some(path)),
            file: BufWriter::with_capacity(256 * 1024, file),
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// A second version with the bytes of a first. Files never change, so both may share them.
    pub(super) async fn duplicate(&self, original: Uuid) -> Result<Stored> {
        let version = Uuid::new_v4();
        let (from, to) = (self.path(original), self.path(version));
        let folder = self.folder_of(version);
        let path = to.clone();
        blocking(move || {
            std::fs::create_dir_all(&folder)?;
            std::fs::hard_link(from, to)?;
            sync_folder(&folder)
        })
        .await?;
        Ok(Stored {
            version,
            remover: Remover(Some(path)),
        })
    }

    fn folder_of(&self, version: Uuid) -> PathBuf {
        self.path(version)
            .parent()
            .map_or_else(|| self.objects.clone(), Path::to_owned)
    }

    /// Opens a version; none when its file is gone.
    pub(super) async fn read(&self, version: Uuid) -> Result<Option<File>> {
        match File::open(self.path(version)).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::disk(error)),
        }
    }

    /// Removes versions whose rows are gone. A failure leaves an orphan, which is found at the next start.
    pub(super) async fn remove(&self, versions: &[Uuid]) {
        for version in versions {
            if let Err(error) = tokio::fs::remove_file(self.path(*version)).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, %version, "a file of a removed object stays");
            }
        }
    }

    /// The versions that were written at least `age` ago.
    pub(super) fn versions(&self, age: Duration) -> std::io::Result<Vec<Uuid>> {
        let mut versions = Vec::new();
        for folder in std::fs::read_dir(&self.objects)?.flatten() {
            for file in std::fs::read_dir(folder.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                let is_old = file
                    .metadata()
                    .and_then(|metadata| metadata.modified())
                    .is_ok_and(|time| {
                        SystemTime::now()
                            .duration_since(time)
                            .is_ok_and(|past| past >= age)
                    });
                if let (true, Ok(version)) =
                    (is_old, Uuid::try_parse(&file.file_name().to_string_lossy()))
                {
                    versions.push(version);
                }
            }
        }
        Ok(versions)
    }
}

/// Removes its file when it is dropped: a client that goes away in the middle ends its handler wherever it is.
#[derive(Debug)]
struct Remover(Option<PathBuf>);

impl Drop for Remover {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // It may have been renamed or removed already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A version that is being written; dropping it removes it.
pub(super) struct Draft {
    disk: Disk,
    version: Uuid,
    remover: Remover,
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl Draft {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) async fn write(&mut self, bytes: &Bytes) -> Result<()> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(StorageError::disk)
    }

    /// Brings it to the disk and into its place. Returns it with its SHA-256.
    pub(super) async fn finish(mut self) -> Result<(Stored, String)> {
        self.file.flush().await.map_err(StorageError::disk)?;
        self.file
            .get_ref()
            .sync_all()
            .await
            .map_err(StorageError::disk)?;
        let (from, to) = (
            self.disk.staging.join(self.version.simple().to_string()),
            self.disk.path(self.version),
        );
        let folder = self.disk.folder_of(self.version);
        // From here on, whatever happens, this is the file to remove.
        let stored = Stored {
            version: self.version,
            remover: Remover(Some(to.clone())),
        };
        blocking(move || {
            std::fs::create_dir_all(&folder)?;
            std::fs::rename(from, to)?;
            sync_folder(&folder)
        })
        .await?;
        drop(self.remover);
        let hash = self.hash.finalize();
        Ok((
            stored,
            hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }
}

/// A version in its place that no row names yet; dropping it removes it.
#[derive(Debug)]
pub(super) struct Stored {
    version: Uuid,
    remover: Remover,
}

impl Stored {
    pub(super) fn version(&self) -> Uuid {
        self.version
    }

    /// A row names it now.
    pub(super) fn keep(mut self) {
        self.remover.0 = None;
    }
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(StorageError::internal)?
        .map_err(StorageError::disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (PathBuf, Disk) {
        let folder = std::env::temp_dir().join(format!("lyceum-disk-{}", Uuid::new_v4()));
        let disk = Disk::open(&folder).unwrap();
        (folder, disk)
    }

    fn files(folder: &Path) -> usize {
        let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        let below: usize = std::fs::read_dir(folder.join("objects"))
            .unwrap()
            .flatten()
            .map(|entry| count(&entry.path()))
            .sum();
        below + count(&folder.join("staging"))
    }

    #[tokio::test]
    async fn what_no_row_names_is_removed() {
        let (folder, disk) = disk();
        let mut draft = disk.begin().await.unwrap();
        draft.write(&Bytes::from_static(b"abc")).await.unwrap();
        drop(draft);
        assert_eq!(files(&folder), 0);

        let (stored, _) = disk.begin().await.unwrap().finish().await.unwrap();
        assert_eq!(files(&folder), 1);
        drop(stored);
        assert_eq!(files(&folder), 0);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_copy_survives_its_original() {
        let (folder, disk) = disk();
        let mut draft = disk.begin().await.unwrap();
        draft.write(&Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(draft.size(), 3);
        let (stored, hash) = draft.finish().await.unwrap();
        assert!(hash.starts_with("ba7816bf"));
        let original = stored.version();
        stored.keep();
        let copy = disk.duplicate(original).await.unwrap();
        let version = copy.version();
        copy.keep();
        disk.remove(&[original]).await;
        assert!(disk.read(original).await.unwrap().is_none());
        assert!(disk.read(version).await.unwrap().is_some());
        assert_eq!(disk.versions(Duration::ZERO).unwrap(), [version]);
        assert!(disk.versions(Duration::from_secs(60)).unwrap().is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_start_clears_what_was_half_written() {
        let (folder, disk) = disk();
        let draft = disk.begin().await.unwrap();
        std::mem::forget(draft);
        assert_eq!(files(&folder), 1);
        Disk::open(&folder).unwrap();
        assert_eq!(files(&folder), 0);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
