//! A stack: where its files are, on which ports it listens, and the names under which clients know it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::files;
use crate::keys::Keys;
use crate::ports::Ports;
use crate::process::{self, Account};

/// The stack that `make up` starts.
pub const DEFAULT: &str = "default";
/// The stack whose cluster the tests use.
pub const TEST: &str = "test";
/// The schemas that PostgREST serves.
pub const EXPOSED_SCHEMAS: [&str; 6] =
    ["public", "lms", "content", "media", "billing", "analytics"];
/// Longest path of a Unix socket on Linux, without the closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// The people of the demo who sign in, each with [`DEMO_PASSWORD`]: what they are, and their e-mail address.
pub const DEMO_LOGINS: [(&str, &str); 3] = [
    ("learner", "lena@ironworks.example"),
    ("manager", "marco@ironworks.example"),
    ("admin", "ada@ironworks.example"),
];
/// The password of every demo login.
pub const DEMO_PASSWORD: &str = "lyceum-demo";

/// One stack of one checkout.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The checkout.
    pub root: PathBuf,
    /// Its name, [`DEFAULT`] or another.
    pub name: String,
    /// Its folder in the checkout's `.lyceum`: keys, ports, logs, mail, stored files, state.
    pub dir: PathBuf,
    /// The folder of what runs unprivileged: the cluster, its socket, copies of programs. It is `dir` wherever the
    /// service account can get there.
    pub data: PathBuf,
    /// Its secrets.
    pub keys: Keys,
}

impl Stack {
    /// Opens the stack `name` of the checkout, making its folder and keys on the first time.
    ///
    /// # Errors
    /// When the name is not a plain word, or the folder cannot be written.
    pub fn open(root: &Path, name: &str) -> Result<Self> {
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            bail!(
                "a stack's name consists of lower-case letters, digits and hyphens; got {name:?}"
            );
        }
        let base = root.join(".lyceum");
        let dir = match name {
            DEFAULT => base,
            TEST => base.join("test"),
            other => base.join("stacks").join(other),
        };
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let account = process::service_account()?;
        let data = data_folder(&dir, account.as_ref());
        let keys = Keys::load_or_create(&dir.join("keys.json"))?;
        Ok(Self {
            root: root.to_owned(),
            name: name.to_owned(),
            dir,
            data,
            keys,
        })
    }

    /// The ports of last time, if the stack ever ran.
    ///
    /// # Errors
    /// When the file is there and holds something else.
    pub fn remembered_ports(&self) -> Result<Option<Ports>> {
        let path = self.dir.join("ports.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path)?;
        let ports = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} does not hold ports; delete it to choose new ones",
                path.display()
            )
        })?;
        Ok(Some(ports))
    }

    /// Remembers the ports for the next time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember_ports(&self, ports: &Ports) -> Result<()> {
        files::write_public(
            &self.dir.join("ports.json"),
            &serde_json::to_string_pretty(ports)?,
        )
    }

    /// The ports of a stack that is running or ran before.
    ///
    /// # Errors
    /// When it never ran.
    pub fn ports(&self) -> Result<Ports> {
        self.remembered_ports()?
            .with_context(|| format!("stack {} never ran: start it with `make up`", self.name))
    }

    /// Where a part writes its log.
    #[must_use]
    pub fn log(&self, part: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{part}.log"))
    }

    /// Where mails go.
    #[must_use]
    pub fn mail_dir(&self) -> PathBuf {
        self.dir.join("mail")
    }

    /// Where the storage stand-in keeps its files.
    #[must_use]
    pub fn storage_dir(&self) -> PathBuf {
        self.dir.join("storage")
    }

    /// Copies of programs for an account that cannot reach the originals.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.data.join("bin")
    }

    /// The folder of PostgreSQL's Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        let wanted = self.data.join("socket");
        // PostgreSQL adds "/.s.PGSQL.54322" and, while it starts, ".lock".
        if wanted.as_os_str().len() + "/.s.PGSQL.65535.lock".len() <= LONGEST_SOCKET_PATH {
            return wanted;
        }
        std::env::temp_dir().join(format!("lyceum-{}", short_hash(&self.data)))
    }

    /// What the migrations were when they were applied.
    #[must_use]
    pub fn migrations_memory(&self) -> PathBuf {
        self.dir.join("migrations.json")
    }

    /// The lock that the supervisor holds while the stack runs.
    #[must_use]
    pub fn supervisor_lock(&self) -> PathBuf {
        self.dir.join("supervisor.lock")
    }

    /// Whether a supervisor runs.
    #[must_use]
    pub fn is_supervised(&self) -> bool {
        files::Lock::is_held(&self.supervisor_lock())
    }

    /// The addresses and keys of this stack.
    ///
    /// # Errors
    /// When the stack lacks a password.
    pub fn addresses(&self, ports: &Ports, database: &str) -> Result<Addresses> {
        let api_url = format!("http://127.0.0.1:{}", ports.gateway);
        let database_url = |role: &str| -> Result<String> {
            Ok(format!(
                "postgresql://{role}:{}@127.0.0.1:{}/{database}",
                self.keys.password(role)?,
                ports.database
            ))
        };
        Ok(Addresses {
            db_url: database_url("postgres")?,
            admin_db_url: database_url("supabase_admin")?,
            authenticator_db_url: database_url("authenticator")?,
            auth_db_url: database_url("supabase_auth_admin")?,
            storage_db_url: database_url("supabase_storage_admin")?,
            mail_dir: self.mail_dir(),
            storage_dir: self.storage_dir(),
            keys: self.keys.clone(),
            smtp_url: (ports.mail != 0).then(|| format!("smtp://127.0.0.1:{}", ports.mail)),
            api_url,
        })
    }
}

fn short_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `dir`, or a folder under /var/lib when the service account cannot get to `dir` (a checkout in /root, say).
fn data_folder(dir: &Path, account: Option<&Account>) -> PathBuf {
    match account {
        Some(account) if !process::reachable(&dir.join("postgres"), account) => {
            Path::new("/var/lib/lyceum").join(short_hash(dir))
        }
        _ => dir.to_owned(),
    }
}

/// Where clients find a stack, and with which keys.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// `http://127.0.0.1:<gateway>`.
    pub api_url: String,
    /// As role `postgres`, which owns the project's objects and is not superuser.
    pub db_url: String,
    /// As the superuser.
    pub admin_db_url: String,
    /// As PostgREST's role.
    pub authenticator_db_url: String,
    /// As the auth stand-in's role.
    pub auth_db_url: String,
    /// As the storage stand-in's role.
    pub storage_db_url: String,
    /// Where the auth stand-in leaves mails.
    pub mail_dir: PathBuf,
    /// Where the storage stand-in keeps its files.
    pub storage_dir: PathBuf,
    /// The keys.
    pub keys: Keys,
    /// Where mails are handed in; they end in `mail_dir`.
    pub smtp_url: Option<String>,
}

impl Addresses {
    /// The issuer of users' tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/auth/v1", self.api_url)
    }

    /// Name and value of everything that a client, a test or a function may need, by the Supabase CLI's names.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let api = &self.api_url;
        vec![
            ("API_URL", api.clone()),
            ("SUPABASE_URL", api.clone()),
            ("REST_URL", format!("{api}/rest/v1")),
            ("AUTH_URL", self.issuer()),
            ("STORAGE_URL", format!("{api}/storage/v1")),
            ("FUNCTIONS_URL", format!("{api}/functions/v1")),
            ("JWKS_URL", format!("{api}/auth/v1/.well-known/jwks.json")),
            ("DB_URL", self.db_url.clone()),
            ("ANON_KEY", self.keys.anon_key.clone()),
            ("SERVICE_ROLE_KEY", self.keys.service_role_key.clone()),
            ("PUBLISHABLE_KEY", self.keys.publishable_key.clone()),
            ("SECRET_KEY", self.keys.secret_key.clone()),
            ("JWT_SECRET", self.keys.jwt_secret.clone()),
            ("MAIL_DIR", self.mail_dir.display().to_string()),
            ("STORAGE_DIR", self.storage_dir.display().to_string()),
        ]
    }

    /// [`Addresses::variables`] as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        self.variables()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect()
    }
}

/// The checkout that the caller is in: `LYCEUM_ROOT`, else the nearest folder upwards that holds one, else the one
/// in which this program was built.
///
/// # Errors
/// When there is none.
pub fn find_root() -> Result<PathBuf> {
    let is_root = |folder: &Path| {
        folder.join("infra/local/bootstrap").is_dir() && folder.join("supabase").is_dir()
    };
    if let Some(root) = std::env::var_os("LYCEUM_ROOT") {
        let root = PathBuf::from(root);
        if is_root(&root) {
            return Ok(root.canonicalize()?);
        }
        bail!("LYCEUM_ROOT={} is no checkout of Lyceum", root.display());
    }
    let here = std::env::current_dir()?;
    let program = std::env::current_exe()?;
    here.ancestors()
        .chain(program.ancestors())
        .find(|folder| is_root(folder))
        .map(Path::to_owned)
        .context("no checkout of Lyceum found here: change into one, or name it with LYCEUM_ROOT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_name_is_a_plain_word() {
        for name in ["", "../up", "A", "a b"] {
            assert!(
                Stack::open(Path::new("/nonexistent"), name).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_long_checkout_path_moves_the_socket_out() {
        let folder = std::env::temp_dir()
            .join(uuid::Uuid::new_v4().to_string())
            .join("x".repeat(90));
        let stack = Stack::open(&folder, DEFAULT).unwrap();
        assert!(stack.socket_dir().as_os_str().len() < 80);
        std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
}
