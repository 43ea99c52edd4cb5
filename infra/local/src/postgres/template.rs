//! Template databases: bootstrap and migrations are run once, every test database is a clone.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use crate::files::Lock;
use crate::postgres::cluster::{Cluster, MAIN_DATABASE};
use crate::postgres::{connect, database, explain, identifier};

/// Names of templates start with this.
const TEMPLATE_PREFIX: &str = "lyceum_template_";
/// Names of clones start with this, followed by the process id of their owner.
const CLONE_PREFIX: &str = "lyceum_clone_";

/// What a template holds beside bootstrap and migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Content {
    /// Nothing: no people, no courses.
    Empty,
    /// `supabase/seed.sql`.
    Seed,
    /// pgTAP and plpgsql_check in a schema of their own, `tap`, on the search path.
    Pgtap,
}

impl Content {
    fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Seed => "seed",
            Self::Pgtap => "pgtap",
        }
    }
}

/// The name of the template for the files as they are now; it changes with any of them.
///
/// # Errors
/// When a file cannot be read.
pub fn name(root: &Path, content: Content) -> Result<String> {
    let mut hash = Sha256::new();
    let mut files = database::bootstrap_files(root)?;
    files.push(root.join("infra/local/bootstrap/10-roles.sql"));
    files.extend(database::migration_files(root)?);
    if content == Content::Seed {
        files.push(root.join("supabase/seed.sql"));
    }
    for path in files {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update([0]);
        // A seed that does not exist yet is an empty one.
        hash.update(std::fs::read(&path).unwrap_or_default());
        hash.update([0]);
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("{TEMPLATE_PREFIX}{}_{digest}", content.word()))
}

/// Makes the template unless it exists, and drops outdated ones. Returns its name.
///
/// # Errors
/// When the bootstrap, a migration or the seed fails.
pub async fn ensure(
    cluster: &Cluster,
    root: &Path,
    content: Content,
    lock: &Path,
) -> Result<String> {
    let client = connect(&cluster.url("supabase_admin", MAIN_DATABASE)?).await?;
    let finished = "select exists (select from pg_database where datname = $1 and datistemplate)";
    let template = name(root, content)?;
    if client.query_one(finished, &[&template]).await?.get(0) {
        return Ok(template);
    }
    let _lock = Lock::take(
        lock,
        "another process that prepares the test template",
        Duration::from_secs(300),
    )?;
    // Files may have changed while this process waited.
    let template = name(root, content)?;
    if client.query_one(finished, &[&template]).await?.get(0) {
        return Ok(template);
    }
    let run = async |statement: String| -> Result<()> {
        client
            .batch_execute(&statement)
            .await
            .map_err(|error| anyhow!("{}: {statement}", explain(&error)))
    };
    cluster.ensure_roles().await?;
    let quoted = identifier(&template);
    run(format!("drop database if exists {quoted} with (force)")).await?;
    run(format!(
        "create database {quoted} template template0 owner postgres"
    ))
    .await?;
    database::bootstrap(cluster, root, &template).await?;
    database::migrate(cluster, root, &template).await?;
    match content {
        Content::Empty => {}
        Content::Seed => {
            database::seed(cluster, root, &template).await?;
        }
        Content::Pgtap => {
            let inside = connect(&cluster.url("supabase_admin", &template)?).await?;
            let statements = format!(
                "create schema tap; grant usage on schema tap to public; create extension pgtap schema tap;
                 create extension plpgsql_check schema tap;
                 alter role postgres in database {quoted} set search_path = \"$user\", public, extensions, tap"
            );
            inside
                .batch_execute(&statements)
                .await
                .map_err(|error| anyhow!(explain(&error)))?;
        }
    }
    // `vacuum` sets hint bits and statistics once instead of in every clone.
    let inside = connect(&cluster.url("supabase_admin", &template)?).await?;
    inside
        .batch_execute("vacuum (analyze)")
        .await
        .map_err(|error| anyhow!(explain(&error)))?;
    drop(inside);
    run(format!(
        "alter database {quoted} is_template true allow_connections false"
    ))
    .await?;
    let outdated = client
        .query(
            "select datname::text from pg_database where starts_with(datname, $1) and datname <> $2",
            &[&format!("{TEMPLATE_PREFIX}{}_", content.word()), &template],
        )
        .await?;
    for row in outdated {
        let old = identifier(row.get(0));
        // One that is being cloned at this moment stays until the next time.
        let _ = run(format!("alter database {old} is_template false")).await;
        let _ = run(format!("drop database if exists {old} with (force)")).await;
    }
    Ok(template)
}

/// A clone of a template, with the settings and rights that CREATE DATABASE leaves behind. Returns its name.
///
/// # Errors
/// When the server refuses.
pub async fn clone(cluster: &Cluster, template: &str) -> Result<String> {
    let client = connect(&cluster.url("supabase_admin", MAIN_DATABASE)?).await?;
    let suffix: u32 = rand::rng().random();
    let name = format!("{CLONE_PREFIX}{}_{suffix:08x}", std::process::id());
    let create = format!(
        "create database {} template {} owner postgres",
        identifier(&name),
        identifier(template)
    );
    let start = Instant::now();
    loop {
        match client.batch_execute(&create).await {
            Ok(()) => break,
            // 55006: the template "is being accessed by other users", such as a clone at the same moment.
            Err(error)
                if error.code().is_some_and(|code| code.code() == "55006")
                    && start.elapsed() < Duration::from_secs(60) =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => bail!("cannot clone {template}: {}", explain(&error)),
        }
    }
    copy_settings(&client, template, &name).await?;
    Ok(name)
}

async fn copy_settings(client: &tokio_postgres::Client, from: &str, to: &str) -> Result<()> {
    let settings = client
        .query(
            "select s.setrole::regrole::text, s.setrole = 0, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
             from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) c
             where d.datname = $1",
            &[&from],
        )
        .await?;
    let mut statements = String::new();
    for row in settings {
        let (role, everyone, name, value): (String, bool, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        // Lists such as search_path are stored quoted already; other values are not.
        let value = if name == "search_path" {
            value
        } else {
            super::literal(&value)
        };
        let target = if everyone {
            format!("database {}", identifier(to))
        } else {
            format!("role {role} in database {}", identifier(to))
        };
        statements.push_str(&format!("alter {target} set {name} = {value};"));
    }
    let grants = client
        .query(
            "select a.privilege_type, case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
             from pg_database d, aclexplode(d.datacl) a where d.datname = $1 and a.grantee <> d.datdba",
            &[&from],
        )
        .await?;
    if !grants.is_empty() {
        statements.push_str(&format!(
            "revoke all on database {} from public;",
            identifier(to)
        ));
    }
    for row in grants {
        let (privilege, role): (String, String) = (row.get(0), row.get(1));
        statements.push_str(&format!(
            "grant {privilege} on database {} to {role};",
            identifier(to)
        ));
    }
    client
        .batch_execute(&statements)
        .await
        .map_err(|error| anyhow!(explain(&error)))
}

/// Drops a clone, ending the connections to it.
///
/// # Errors
/// When the server refuses.
pub async fn drop_clone(cluster: &Cluster, name: &str) -> Result<()> {
    let client = connect(&cluster.url("supabase_admin", MAIN_DATABASE)?).await?;
    client
        .batch_execute(&format!(
            "drop database if exists {} with (force)",
            identifier(name)
        ))
        .await
        .map_err(|error| anyhow!("cannot drop {name}: {}", explain(&error)))
}

/// Drops the clones whose owners are gone (killed before they could).
///
/// # Errors
/// When the server refuses to list them.
pub async fn drop_abandoned(cluster: &Cluster) -> Result<()> {
    let client = connect(&cluster.url("supabase_admin", MAIN_DATABASE)?).await?;
    let rows = client
        .query(
            "select datname::text from pg_database where starts_with(datname, $1)",
            &[&CLONE_PREFIX],
        )
        .await?;
    for row in rows {
        let name: &str = row.get(0);
        if !owner(name).is_some_and(crate::process::alive) {
            // Another process may be dropping the same one.
            let _ = client
                .batch_execute(&format!(
                    "drop database if exists {} with (force)",
                    identifier(name)
                ))
                .await;
        }
    }
    Ok(())
}

/// The process id in a clone's name.
fn owner(clone: &str) -> Option<u32> {
    clone
        .strip_prefix(CLONE_PREFIX)?
        .split('_')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_names_its_owner() {
        assert_eq!(owner("lyceum_clone_42_0000abcd"), Some(42));
        assert_eq!(owner("postgres"), None);
    }
}
