//! Folders of Markdown on disk: read with limits and without following links, written as a whole or not at all.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::document::is_slug;
use super::faults::Fault;
use super::folder::File;

/// Deepest folder, most files, largest file and all of them together.
const DEEPEST: usize = 8;
const MOST_FILES: usize = 20_000;
const LARGEST: u64 = 1024 * 1024;
const LARGEST_TOGETHER: u64 = 64 * 1024 * 1024;

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub files: Vec<File>,
    /// Files that are no Markdown.
    pub others: Vec<String>,
    pub faults: Vec<Fault>,
}

/// Reads all Markdown below a folder. Names that begin with a dot are passed over.
pub(super) fn read(root: &Path) -> Result<Found> {
    let mut found = Found::default();
    let mut bytes = 0;
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, path, depth)) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be read", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("{} cannot be read", folder.display()))?;
            let mut fault = |path: &str, code, message: &str| {
                found.faults.push(Fault {
                    file: path.to_owned(),
                    line: 0,
                    code,
                    message: message.to_owned(),
                });
            };
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let name = entry.file_name().to_string_lossy().into_owned();
                fault(&name, "not_text", "the name is not UTF-8");
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let path = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            // Of the entry itself: a link would lead out of the folder.
            let kind = entry
                .file_type()
                .with_context(|| format!("{path} cannot be read"))?;
            if kind.is_dir() {
                if depth == DEEPEST {
                    fault(&path, "too_deep", "the folder is too deep");
                } else {
                    folders.push((entry.path(), path, depth + 1));
                }
            } else if kind.is_symlink() {
                fault(&path, "link", "links are not followed");
            } else if !kind.is_file() {
                fault(&path, "not_a_file", "this is no file");
            } else if !path.ends_with(".md") {
                found.others.push(path);
            } else {
                match read_text(&entry.path(), LARGEST)? {
                    Ok(text) => {
                        bytes += text.len() as u64;
                        found.files.push(File { path, text });
                    }
                    Err(refusal) => found.faults.push(refusal.of(path)),
                }
            }
            if found.files.len() > MOST_FILES || bytes > LARGEST_TOGETHER {
                bail!(
                    "{} holds more than {MOST_FILES} files or 64 MiB of Markdown",
                    root.display()
                );
            }
        }
    }
    found.others.sort();
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Why a file is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    TooLarge(u64),
    NotText(usize),
}

impl Refusal {
    pub fn of(self, file: String) -> Fault {
        let (line, code, message) = match self {
            Self::TooLarge(most) => (0, "too_large", format!("larger than {most} bytes")),
            Self::NotText(line) => (line, "not_text", "this is not UTF-8".to_owned()),
        };
        Fault {
            file,
            line,
            code,
            message,
        }
    }
}

/// A text without its byte order mark, with line breaks as they are here.
pub(super) fn read_text(path: &Path, most: u64) -> Result<Result<String, Refusal>> {
    let context = || format!("{} cannot be read", path.display());
    let mut bytes = Vec::new();
    fs::File::open(path)
        .with_context(context)?
        .take(most + 1)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    if bytes.len() as u64 > most {
        return Ok(Err(Refusal::TooLarge(most)));
    }
    Ok(text_of(bytes))
}

/// Bytes as text, without a byte order mark, with line breaks as they are here.
pub(super) fn text_of(bytes: Vec<u8>) -> Result<String, Refusal> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(as_here(&text)),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            Err(Refusal::NotText(
                valid.iter().filter(|byte| **byte == b'\n').count() + 1,
            ))
        }
    }
}

fn as_here(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    }
}

/// Writes files into a new folder: it is there when all of them are.
pub(super) fn write(root: &Path, files: &[File]) -> Result<()> {
    if root.exists() {
        bail!("{} is there already", root.display());
    }
    let name = root
        .file_name()
        .with_context(|| format!("{} is no name for a folder", root.display()))?;
    let draft = root.with_file_name(format!(
        ".{}.{}",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = write_below(&draft, files).and_then(|()| {
        fs::rename(&draft, root).with_context(|| format!("{} cannot be written", root.display()))
    });
    if written.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    written
}

fn write_below(draft: &Path, files: &[File]) -> Result<()> {
    for file in files {
        // Names are made of keys, and keys come from a server.
        let is_below = file
            .path
            .split('/')
            .all(|name| is_slug(name.strip_suffix(".md").unwrap_or(name), 120));
        if !is_below {
            bail!("{:?} is no name for a file", file.path);
        }
        let path: PathBuf = draft.join(&file.path);
        let context = || format!("{} cannot be written", path.display());
        fs::create_dir_all(path.parent().unwrap_or(draft)).with_context(context)?;
        fs::write(&path, &file.text).with_context(context)?;
    }
    Ok(())
}
