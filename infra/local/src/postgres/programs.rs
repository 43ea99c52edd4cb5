//! Finding an installed PostgreSQL that has the extensions we need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// The oldest major version that will do.
pub const OLDEST: u32 = 15;
/// The extensions that must be installed with it.
pub const EXTENSIONS: [&str; 4] = ["pg_cron", "pg_stat_statements", "pgtap", "plpgsql_check"];

/// The folder with `postgres`, `initdb`, `psql` and `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder.
    pub bin: PathBuf,
    /// Major version.
    pub version: u32,
}

impl Programs {
    /// The path of one program.
    #[must_use]
    pub fn path(&self, program: &str) -> String {
        self.bin.join(program).display().to_string()
    }
}

/// The newest PostgreSQL on this machine that has every extension: in `LYCEUM_PG_BIN` if set, in Debian's folders, or
/// on PATH.
///
/// # Errors
/// When there is none; the message names what each candidate lacks.
pub fn find() -> Result<Programs> {
    let chosen = std::env::var_os("LYCEUM_PG_BIN").map(PathBuf::from);
    let candidates = match chosen {
        Some(bin) => vec![bin],
        None => debian().into_iter().chain(on_path()).collect(),
    };
    let mut faults = Vec::new();
    for bin in candidates {
        match inspect(&bin) {
            Ok(programs) => return Ok(programs),
            Err(fault) => faults.push(format!("  {}: {fault}", bin.display())),
        }
    }
    if faults.is_empty() {
        faults.push("  none is installed".to_owned());
    }
    bail!(
        "no PostgreSQL >= {OLDEST} with {} found:\n{}\nRun infra/local/setup (`make up` does), or name a folder with LYCEUM_PG_BIN.",
        EXTENSIONS.join(", "),
        faults.join("\n")
    )
}

fn debian() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut versions: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions
        .into_iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .collect()
}

fn on_path() -> Vec<PathBuf> {
    let Some(path) = std::env::var_os("PATH") else {
        return Vec::new();
    };
    std::env::split_paths(&path)
        .filter(|folder| folder.join("postgres").is_file())
        .collect()
}

fn inspect(bin: &Path) -> Result<Programs, String> {
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .map_err(|error| format!("its postgres does not run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version =
        major_version(&text).ok_or_else(|| format!("unknown version {:?}", text.trim()))?;
    if version < OLDEST {
        return Err(format!("version {version} is too old"));
    }
    let share = share_folder(bin, version).ok_or("its share folder was not found")?;
    let missing: Vec<&str> = EXTENSIONS
        .into_iter()
        .filter(|name| {
            !share
                .join("extension")
                .join(format!("{name}.control"))
                .is_file()
        })
        .collect();
    if missing.is_empty() {
        Ok(Programs {
            bin: bin.to_owned(),
            version,
        })
    } else {
        Err(format!("version {version} lacks {}", missing.join(", ")))
    }
}

fn share_folder(bin: &Path, version: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/share/postgresql/{version}"));
    if bin.starts_with("/usr/lib/postgresql") && debian.is_dir() {
        return Some(debian);
    }
    let output = Command::new(bin.join("pg_config"))
        .arg("--sharedir")
        .output()
        .ok()?;
    Some(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

/// The major version in the answer to `postgres --version`.
fn major_version(text: &str) -> Option<u32> {
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_distributions_print_them() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("nonsense"), None);
    }
}
