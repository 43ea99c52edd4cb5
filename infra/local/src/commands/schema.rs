//! `lyceum schema` and `lyceum types`: files generated from a freshly migrated database.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::output;
use crate::postgres::template::{self, Content};
use crate::sandbox;
use crate::snapshot;

/// Writes or checks supabase/schema.sql.
pub async fn schema(root: &Path, check: bool) -> Result<ExitCode> {
    let (stack, cluster) = sandbox::test_cluster(root).await?;
    let database = sandbox::own_database(&stack, &cluster, Content::Empty).await?;
    let text = snapshot::schema(&cluster, &database).await;
    template::drop_clone(&cluster, &database).await?;
    settle(root, "supabase/schema.sql", &text?, check, "make schema").await
}

/// Writes or checks supabase/types.ts.
pub async fn types(root: &Path, check: bool) -> Result<ExitCode> {
    let (stack, cluster) = sandbox::test_cluster(root).await?;
    let database = sandbox::own_database(&stack, &cluster, Content::Empty).await?;
    let text = snapshot::types(root, &cluster, &database).await;
    template::drop_clone(&cluster, &database).await?;
    settle(root, "supabase/types.ts", &text?, check, "make types").await
}

async fn settle(
    root: &Path,
    file: &str,
    text: &str,
    check: bool,
    remedy: &str,
) -> Result<ExitCode> {
    let path = root.join(file);
    if !check {
        crate::files::write_public(&path, text)?;
        output::line(format!("wrote {file}"));
        return Ok(ExitCode::SUCCESS);
    }
    match snapshot::difference(&path, text).await? {
        None => Ok(ExitCode::SUCCESS),
        Some(difference) => {
            output::line(difference);
            eprintln!(
                "{file} is out of date (- as it is, + as it should be): run `{remedy}` and commit the result"
            );
            Ok(ExitCode::FAILURE)
        }
    }
}
