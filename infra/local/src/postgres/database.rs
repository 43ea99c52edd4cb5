//! What a database needs before it serves: bootstrap, migrations, seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest as _, Sha256};

use crate::postgres::cluster::{self, Cluster};
use crate::postgres::{connect, explain, identifier, literal};

/// Marks, as the database's comment, a new database whose seed has not been loaded.
const UNSEEDED: &str = "Lyceum, without its seed";
/// Marks a database whose seed has been loaded.
const SEEDED: &str = "Lyceum";

/// The bootstrap files that belong to one database, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn bootstrap_files(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(sql_files(&root.join("infra/local/bootstrap"))?
        .into_iter()
        // 10-roles.sql belongs to the cluster.
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("10-"))
        })
        .collect())
}

/// The migrations, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn migration_files(root: &Path) -> Result<Vec<PathBuf>> {
    sql_files(&root.join("supabase/migrations"))
}

/// The `.sql` files of a folder by name; none when the folder does not exist.
fn sql_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    Ok(files)
}

/// Whether the bootstrap has run on a database.
///
/// # Errors
/// When the database does not answer.
pub async fn is_bootstrapped(cluster: &Cluster, database: &str) -> Result<bool> {
    let client = connect(&cluster.url("supabase_admin", database)?).await?;
    Ok(client
        .query_one("select to_regnamespace('auth') is not null", &[])
        .await?
        .get(0))
}

/// Whether a database has the tables of storage; one that an earlier bootstrap made has not.
///
/// # Errors
/// When the database does not answer.
pub async fn has_storage(cluster: &Cluster, database: &str) -> Result<bool> {
    let client = connect(&cluster.url("supabase_admin", database)?).await?;
    Ok(client
        .query_one("select to_regclass('storage.objects') is not null", &[])
        .await?
        .get(0))
}

/// Runs the part of the bootstrap that makes the tables of storage, all or nothing.
///
/// # Errors
/// When a statement of it fails.
pub async fn add_storage(cluster: &Cluster, root: &Path, database: &str) -> Result<()> {
    let script = root.join("infra/local/bootstrap/40-storage.sql");
    cluster
        .run_script("supabase_admin", database, &[script], None)
        .await
        .context("the bootstrap of storage failed")
}

/// Runs the bootstrap on an empty database, all or nothing. Returns whether there was something to do.
///
/// # Errors
/// When a statement of the bootstrap fails.
pub async fn bootstrap(cluster: &Cluster, root: &Path, database: &str) -> Result<bool> {
    if is_bootstrapped(cluster, database).await? {
        return Ok(false);
    }
    let client = connect(&cluster.url("supabase_admin", database)?).await?;
    client
        .batch_execute(&format!(
            "alter database {} owner to postgres",
            identifier(database)
        ))
        .await
        .map_err(|error| anyhow!(explain(&error)))?;
    let mark = format!(
        "comment on database {} is {}",
        identifier(database),
        literal(UNSEEDED)
    );
    cluster
        .run_script(
            "supabase_admin",
            database,
            &bootstrap_files(root)?,
            Some(&mark),
        )
        .await
        .context("the bootstrap of the database failed")?;
    Ok(true)
}

/// Names (versions) of the migration files that the database has not seen.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn pending_migrations(
    cluster: &Cluster,
    root: &Path,
    database: &str,
) -> Result<Vec<String>> {
    let client = connect(&cluster.url("postgres", database)?).await?;
    let has_ledger: bool = client
        .query_one(
            "select to_regclass('supabase_migrations.schema_migrations') is not null",
            &[],
        )
        .await?
        .get(0);
    let applied: BTreeSet<String> = if has_ledger {
        let rows = client
            .query(
                "select version from supabase_migrations.schema_migrations",
                &[],
            )
            .await?;
        rows.iter().map(|row| row.get(0)).collect()
    } else {
        BTreeSet::new()
    };
    Ok(migration_files(root)?
        .iter()
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .filter(|name| !applied.contains(name.split('_').next().unwrap_or_default()))
        .collect())
}

/// Applies the migrations that the database has not seen, as role `postgres`, with the Supabase CLI. Returns their
/// names.
///
/// # Errors
/// When one fails; the message is the CLI's.
pub async fn migrate(cluster: &Cluster, root: &Path, database: &str) -> Result<Vec<String>> {
    let pending = pending_migrations(cluster, root, database).await?;
    if pending.is_empty() {
        return Ok(pending);
    }
    let url = cluster.url("postgres", database)?;
    let output = supabase_cli(
        root,
        &[
            "db",
            "push",
            &format!("--remote={url}"),
            "--yes",
            "--include-all",
            "--skip-vault",
        ],
    )
    .await?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!(
            "a migration failed:\n{}",
            String::from_utf8_lossy(&text)
                .replace(&url, "<database>")
                .trim()
        );
    }
    Ok(pending)
}

/// Remembers in `memory` the migrations' texts as they were applied, and returns the names of those whose file was
/// changed since: the ledger knows versions only, so such a change never reaches this database.
///
/// # Errors
/// When a file can be neither read nor written.
pub fn changed_migrations(root: &Path, memory: &Path) -> Result<Vec<String>> {
    let remembered: BTreeMap<String, String> = match std::fs::read_to_string(memory) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => BTreeMap::new(),
    };
    let mut applied = remembered.clone();
    let mut changed = Vec::new();
    for path in migration_files(root)? {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let digest = Sha256::digest(std::fs::read(&path)?);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if *applied
            .entry(name.clone())
            .or_insert_with(|| digest.clone())
            != digest
        {
            changed.push(name);
        }
    }
    if applied != remembered {
        crate::files::write_public(memory, &serde_json::to_string_pretty(&applied)?)?;
    }
    Ok(changed)
}

/// Loads `supabase/seed.sql` as role `postgres` into a database that the bootstrap made and nobody seeded. Returns
/// whether it did.
///
/// # Errors
/// When a statement of the seed fails; then nothing of it stays.
pub async fn seed(cluster: &Cluster, root: &Path, database: &str) -> Result<bool> {
    let script = root.join("supabase/seed.sql");
    let client = connect(&cluster.url("postgres", database)?).await?;
    let comment: Option<String> = client
        .query_one(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()",
            &[],
        )
        .await?
        .get(0);
    if !script.is_file() || comment.as_deref() != Some(UNSEEDED) {
        return Ok(false);
    }
    let mark = format!(
        "comment on database {} is {}",
        identifier(database),
        literal(SEEDED)
    );
    cluster
        .run_script("postgres", database, &[script], Some(&mark))
        .await
        .context("supabase/seed.sql could not be loaded")?;
    Ok(true)
}

/// Runs the Supabase CLI on the checkout, without its telemetry and update checks: no network.
///
/// # Errors
/// When it is not installed or does not end within five minutes.
pub async fn supabase_cli(root: &Path, arguments: &[&str]) -> Result<std::process::Output> {
    let program = root.join("node_modules/.bin/supabase");
    if !program.exists() {
        bail!("the Supabase CLI is not installed: run infra/local/setup (`make up` does)");
    }
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .args(["--workdir"])
        .arg(root)
        .current_dir(root)
        .env("SUPABASE_TELEMETRY_DISABLED", "1")
        .env("DO_NOT_TRACK", "1")
        .env("SUPABASE_NO_UPDATE_NOTIFIER", "1")
        .env("SUPABASE_HOME", root.join(".lyceum/tools/supabase"))
        .stdin(Stdio::null());
    cluster::run(command, Duration::from_secs(300), "the Supabase CLI").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_was_changed_after_it_was_applied_is_noticed() {
        let root = std::env::temp_dir().join(format!("lyceum-migrations-{}", uuid::Uuid::new_v4()));
        let folder = root.join("supabase/migrations");
        std::fs::create_dir_all(&folder).unwrap();
        let memory = root.join("memory.json");
        std::fs::write(folder.join("1_one.sql"), "select 1").unwrap();
        assert!(changed_migrations(&root, &memory).unwrap().is_empty());
        std::fs::write(folder.join("2_two.sql"), "select 2").unwrap();
        assert!(
            changed_migrations(&root, &memory).unwrap().is_empty(),
            "a new one is no change"
        );
        std::fs::write(folder.join("1_one.sql"), "select 3").unwrap();
        assert_eq!(changed_migrations(&root, &memory).unwrap(), ["1_one"]);
        assert_eq!(
            changed_migrations(&root, &memory).unwrap(),
            ["1_one"],
            "until the database is made anew"
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}
