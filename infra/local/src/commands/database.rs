//! `lyceum psql` and `lyceum with-database`.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use anyhow::{Context, Error, Result, bail};

use crate::postgres::cluster::{Cluster, Durability, MAIN_DATABASE};
use crate::postgres::programs;
use crate::postgres::template::{self, Content};
use crate::sandbox;
use crate::stack::Stack;

/// Becomes psql; returns only when that fails.
pub fn psql(stack: &Stack, role: &str, arguments: &[String]) -> Error {
    let prepare = || -> Result<std::process::Command> {
        let ports = stack.ports()?;
        let cluster = Cluster::of(stack, programs::find()?, ports.database, Durability::Full);
        let mut command = std::process::Command::new(cluster.programs.path("psql"));
        command
            .args(arguments)
            .envs(cluster.environment(role, MAIN_DATABASE)?);
        Ok(command)
    };
    match prepare() {
        Ok(mut command) => Error::new(command.exec()).context("cannot start psql"),
        Err(error) => error,
    }
}

/// Runs a command on a throw-away database and returns its exit code.
pub async fn with_database(root: &Path, content: Content, command: &[String]) -> Result<i32> {
    let (stack, cluster) = sandbox::test_cluster(root).await?;
    let database = sandbox::own_database(&stack, &cluster, content).await?;
    let url = cluster.url("postgres", &database)?;
    let Some((program, arguments)) = command.split_first() else {
        bail!("no command given")
    };
    let status = tokio::process::Command::new(program)
        .args(
            arguments
                .iter()
                .map(|argument| argument.replace("{DB_URL}", &url)),
        )
        .env("DB_URL", &url)
        .env("ADMIN_DB_URL", cluster.url("supabase_admin", &database)?)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("cannot start {program}"));
    template::drop_clone(&cluster, &database).await?;
    Ok(status?.code().unwrap_or(1))
}
