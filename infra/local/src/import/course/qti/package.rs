//! The files of QTI content: one, a folder, or a zip package. Nothing is unpacked to disk, and nothing followed out of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::super::disk::{self, Refusal};

/// Most entries, deepest folder, largest file and all of them together.
const MOST_ENTRIES: usize = 10_000;
const DEEPEST: usize = 8;
const LARGEST: u64 = 1024 * 1024;
const LARGEST_TOGETHER: u64 = 64 * 1024 * 1024;

/// The XML files, in the order of their names, and how many others there are, by ending.
#[derive(Debug, Default)]
pub(in super::super) struct Package {
    pub files: BTreeMap<String, String>,
    pub others: BTreeMap<String, u64>,
    bytes: u64,
}

impl Package {
    /// Reads what is at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or holds more than it may.
    pub fn read(path: &Path) -> Result<Self> {
        let mut package = Self::default();
        if path.is_dir() {
            package.folder(path)?;
        } else if path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
        {
            let file = fs::File::open(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            package
                .zip(file)
                .with_context(|| format!("{} is no usable package", path.display()))?;
        } else {
            let name = path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            package.add(name.clone(), disk::read_text(path, LARGEST)?)?;
        }
        Ok(package)
    }

    fn folder(&mut self, root: &Path) -> Result<()> {
        let mut folders = vec![(root.to_owned(), String::new(), 0)];
        while let Some((folder, path, depth)) = folders.pop() {
            let context = || format!("{} cannot be read", folder.display());
            for entry in fs::read_dir(&folder).with_context(context)? {
                let entry = entry.with_context(context)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with('.') {
                    continue;
                }
                let path = format!("{path}{name}");
                // Of the entry itself: a link would lead out of the folder.
                let kind = entry.file_type().with_context(context)?;
                if kind.is_dir() && depth < DEEPEST {
                    folders.push((entry.path(), format!("{path}/"), depth + 1));
                } else if kind.is_dir() {
                    bail!("{path} is too deep");
                } else if !kind.is_file() {
                    bail!("{path} is a link, and links are not followed");
                } else if is_xml(&path) {
                    self.add(path, disk::read_text(&entry.path(), LARGEST)?)?;
                } else {
                    self.other(&path)?;
                }
            }
        }
        Ok(())
    }

    fn zip(&mut self, file: impl std::io::Read + Seek) -> Result<()> {
        let mut archive = zip::ZipArchive::new(file).context("it is no zip file")?;
        if archive.len() > MOST_ENTRIES {
            bail!("it holds more than {MOST_ENTRIES} files");
        }
        for index in 0..archive.len() {
            let entry = archive.by_index(index).context("it is damaged")?;
            let name = entry
                .name()
                .context("a name in it is no text")?
                .into_owned();
            if entry.is_dir() {
                continue;
            }
            if !is_xml(&name) {
                self.other(&name)?;
                continue;
            }
            // What the entry says of its size is the sender's word: reading stops where it may no longer go on.
            let mut bytes = Vec::new();
            entry
                .take(LARGEST + 1)
                .read_to_end(&mut bytes)
                .with_context(|| format!("{name} cannot be unpacked"))?;
            let text = if bytes.len() as u64 > LARGEST {
                Err(Refusal::TooLarge(LARGEST))
            } else {
                disk::text_of(bytes)
            };
            if self.files.contains_key(&name) {
                bail!("{name} is in it twice");
            }
            self.add(name, text)?;
        }
        Ok(())
    }

    fn add(&mut self, name: String, text: Result<String, Refusal>) -> Result<()> {
        match text {
            Ok(text) => {
                self.bytes += text.len() as u64;
                self.files.insert(name, text);
            }
            Err(refusal) => bail!("{}", refusal.of(name)),
        }
        if self.files.len() > MOST_ENTRIES || self.bytes > LARGEST_TOGETHER {
            bail!("there are more than {MOST_ENTRIES} files or 64 MiB of XML");
        }
        Ok(())
    }

    fn other(&mut self, name: &str) -> Result<()> {
        let ending = Path::new(name).extension().map_or_else(
            || "without ending".to_owned(),
            |ending| format!(".{}", ending.to_string_lossy()),
        );
        *self.others.entry(ending).or_default() += 1;
        if self.others.len() > MOST_ENTRIES {
            bail!("there are more than {MOST_ENTRIES} files");
        }
        Ok(())
    }
}

fn is_xml(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("xml"))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::write::SimpleFileOptions;

    use super::*;

    fn zipped(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_package_gives_its_xml_and_counts_the_rest() {
        let mut package = Package::default();
        package
            .zip(zipped(&[
                ("items/b.xml", b"<b/>"),
                ("../a.XML", b"<a/>"),
                ("images/c.png", b"x"),
            ]))
            .unwrap();
        let names: Vec<_> = package.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["../a.XML", "items/b.xml"]);
        assert_eq!(package.others.get(".png"), Some(&1));
    }

    #[test]
    fn a_small_package_that_holds_a_huge_file_is_refused() {
        let zeros = vec![b' '; 8 * 1024 * 1024];
        let bomb = zipped(&[("a.xml", &zeros)]);
        assert!(bomb.get_ref().len() < 100_000);
        let error = Package::default().zip(bomb).unwrap_err().to_string();
        assert!(error.contains("larger than 1048576 bytes"), "{error}");
    }

    #[test]
    fn many_files_of_the_largest_size_are_refused_together() {
        let spaces = vec![b' '; 1024 * 1024];
        let names: Vec<_> = (0..65).map(|number| format!("{number}.xml")).collect();
        let files: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), spaces.as_slice()))
            .collect();
        let error = Package::default()
            .zip(zipped(&files))
            .unwrap_err()
            .to_string();
        assert!(error.contains("64 MiB"), "{error}");
    }

    #[test]
    fn what_is_no_package_or_no_text_is_refused() {
        assert!(
            Package::default()
                .zip(Cursor::new(b"PK no".to_vec()))
                .is_err()
        );
        let error = Package::default()
            .zip(zipped(&[("a.xml", b"\xff")]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }
}
