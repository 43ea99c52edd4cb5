//! `lyceum down` and the first half of `lyceum reset`.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::files::Lock;
use crate::output;
use crate::postgres::cluster::{Cluster, Durability};
use crate::postgres::programs;
use crate::sandbox;
use crate::stack::{DEFAULT, Stack, TEST};
use crate::supervisor;

const PATIENCE: Duration = Duration::from_secs(600);

/// Stops one stack, or all of the checkout.
pub fn run(stack: &Stack, all: bool) -> Result<()> {
    let names = if all {
        all_names(stack)
    } else {
        vec![stack.name.clone()]
    };
    for name in names {
        if name == TEST {
            sandbox::stop_test_cluster(&stack.root)?;
            continue;
        }
        let stack = Stack::open(&stack.root, &name)?;
        let _lock = Lock::take(
            &stack.dir.join("up.lock"),
            "another `lyceum up`, `down` or `reset`",
            PATIENCE,
        )?;
        supervisor::stop(&stack);
    }
    output::line(
        "Stopped. The data stays in .lyceum; `make up` starts again, `make reset` starts afresh.",
    );
    Ok(())
}

/// Stops the stack and deletes its cluster and its stored files.
pub fn erase(stack: &Stack) -> Result<()> {
    let _lock = Lock::take(
        &stack.dir.join("up.lock"),
        "another `lyceum up`, `down` or `reset`",
        PATIENCE,
    )?;
    supervisor::stop(stack);
    Cluster::of(stack, programs::find()?, 0, Durability::Full).delete()?;
    let files = stack.storage_dir();
    if files.exists() {
        std::fs::remove_dir_all(&files)
            .with_context(|| format!("cannot delete {}", files.display()))?;
    }
    Ok(())
}

fn all_names(stack: &Stack) -> Vec<String> {
    let mut names = vec![DEFAULT.to_owned(), TEST.to_owned()];
    let folder = stack.root.join(".lyceum/stacks");
    // No such folder: no such stacks.
    if let Ok(entries) = std::fs::read_dir(folder) {
        names.extend(
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok()),
        );
    }
    names
}
