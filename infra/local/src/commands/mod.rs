//! The command line.

mod database;
mod down;
mod export;
mod import;
mod info;
mod logs;
mod schema;
mod serve;
mod token;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::{self, BenchCommand};
use crate::doctor;
use crate::output;
use crate::postgres::template::Content;
use crate::sandbox;
use crate::stack::{self, Stack};
use crate::supervisor;

/// Lyceum's local stack: a Supabase project's parts on this machine, for development and tests.
#[derive(Debug, Parser)]
#[command(name = "lyceum", version, max_term_width = 100)]
struct Cli {
    /// The stack; each name has a database and ports of its own.
    #[arg(long, global = true, env = "LYCEUM_STACK", default_value = stack::DEFAULT, value_name = "NAME")]
    stack: String,
    /// The checkout; found from the current folder when not given.
    #[arg(long, global = true, env = "LYCEUM_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the stack, apply new migrations, and return when everything answers.
    Up {
        /// Port of the gateway; PostgreSQL takes the next one. Remembered. [default: 54321]
        #[arg(long, env = "LYCEUM_PORT", value_parser = clap::value_parser!(u16).range(1024..65535))]
        port: Option<u16>,
    },
    /// Stop the stack; its data stays.
    Down {
        /// Stop every stack of this checkout, and the tests' database server.
        #[arg(long)]
        all: bool,
    },
    /// Show what runs, where, and with which keys.
    Status {
        /// Form of the answer; env and json use the Supabase CLI's names.
        #[arg(short, long, value_enum, default_value = "pretty")]
        output: info::Output,
    },
    /// Show the logs of all parts, or of one.
    Logs {
        /// Keep showing what is added.
        #[arg(short, long)]
        follow: bool,
        /// A part, as `lyceum status` names it.
        part: Option<String>,
        /// Lines of each log to begin with.
        #[arg(short = 'n', long, default_value_t = 40)]
        lines: usize,
    },
    /// Drop the database and make it anew: migrations and seed. All data is lost.
    Reset {
        /// Port of the gateway, as for `up`.
        #[arg(long, env = "LYCEUM_PORT", value_parser = clap::value_parser!(u16).range(1024..65535))]
        port: Option<u16>,
    },
    /// Open psql on the stack's database as role postgres (or another: --role).
    Psql {
        /// Database role: postgres, or supabase_admin, the superuser.
        #[arg(long, default_value = "postgres")]
        role: String,
        /// psql's own arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Print an access token of a user, valid for an hour.
    Token {
        /// The user's e-mail address.
        #[arg(long = "as", value_name = "EMAIL")]
        email: String,
    },
    /// Load something into the stack: people, courses, a real data set.
    Import {
        /// Which one.
        #[command(subcommand)]
        source: import::Source,
    },
    /// Write something of the stack into files.
    Export {
        /// What.
        #[command(subcommand)]
        what: export::What,
    },
    /// Measure on synthetic data, in a cluster of its own.
    Bench {
        /// What to do.
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Check this machine and the stack; compare the live database with supabase/schema.sql.
    Doctor,
    /// Write supabase/schema.sql, the snapshot of a freshly migrated database.
    Schema {
        /// Only compare; fail and show the difference when the file is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Write supabase/types.ts, the TypeScript types of the exposed schemas.
    Types {
        /// Only compare; fail and show the difference when the file is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Run a throw-away stack on a database of its own; prints one line of JSON, ends when standard input closes.
    Sandbox {
        /// Leave the functions out.
        #[arg(long)]
        no_functions: bool,
        /// Load the demo of supabase/seed.sql.
        #[arg(long)]
        seed: bool,
        /// Leave nothing behind of requests that say `Prefer: tx=rollback`.
        #[arg(long)]
        rollback: bool,
    },
    /// Run psql on a throw-away database with pgTAP (for pg_prove --psql-bin).
    #[command(hide = true)]
    PsqlOwnDatabase {
        /// psql's own arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a command with DB_URL (role postgres) and ADMIN_DB_URL of a freshly migrated throw-away database.
    WithDatabase {
        /// What the database holds beside the migrations.
        #[arg(long, value_enum, default_value = "empty")]
        content: Content,
        /// The command; `{DB_URL}` in it is replaced.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Own the parts of the stack (started by `up`).
    #[command(hide = true)]
    Supervise,
    /// Be one part of the stack (started by the supervisor).
    #[command(hide = true)]
    Serve {
        /// The part.
        part: serve::Part,
    },
}

/// Parses the command line and runs it.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut builder = match cli.command {
        // Its children must all be started by one thread that lives as long as it does.
        Command::Supervise => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lyceum: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli));
    // A pending read of standard input must not delay the end.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        // The reader of our output had enough: `lyceum logs | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lyceum: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let root = match cli.root {
        Some(root) => root.canonicalize()?,
        None => stack::find_root()?,
    };
    let stack = || Stack::open(&root, &cli.stack);
    match cli.command {
        Command::Up { port } => up::run(&stack()?, port).await?,
        Command::Down { all } => down::run(&stack()?, all)?,
        Command::Status { output } => return info::run(&stack()?, output).await,
        Command::Logs {
            follow,
            part,
            lines,
        } => logs::run(&stack()?, part.as_deref(), lines, follow).await?,
        Command::Reset { port } => {
            down::erase(&stack()?)?;
            up::run(&stack()?, port).await?;
        }
        Command::Psql { role, arguments } => {
            return Err(database::psql(&stack()?, &role, &arguments));
        }
        Command::Token { email } => output::line(token::for_user(&stack()?, &email).await?),
        Command::Bench { command } => bench::run(&root, command).await?,
        Command::Import { source } => return import::run(&stack()?, source).await,
        Command::Export { what } => return export::run(&stack()?, what).await,
        Command::Doctor => return doctor::run(&stack()?).await,
        Command::Schema { check } => return schema::schema(&root, check).await,
        Command::Types { check } => return schema::types(&root, check).await,
        Command::Sandbox {
            no_functions,
            seed,
            rollback,
        } => {
            sandbox::run(
                &root,
                sandbox::Options {
                    functions: !no_functions,
                    seed,
                    rollback,
                },
            )
            .await?;
        }
        Command::PsqlOwnDatabase { arguments } => {
            return Ok(exit_code(
                sandbox::psql_on_own_database(&root, &arguments).await?,
            ));
        }
        Command::WithDatabase { content, command } => {
            return Ok(exit_code(
                database::with_database(&root, content, &command).await?,
            ));
        }
        Command::Supervise => supervisor::run(stack()?).await?,
        Command::Serve { part } => serve::run(&stack()?, part).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
