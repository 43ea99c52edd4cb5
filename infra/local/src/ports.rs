//! TCP ports on loopback: which are free, and who holds one that is not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::process;

/// The gateway's port unless told otherwise: the Supabase CLI's.
pub const DEFAULT_GATEWAY: u16 = 54321;
/// Distance between the port blocks of checkouts that run side by side.
const BLOCK: u16 = 10;
/// Below Linux' range for outgoing connections, so that no client socket sits on one by chance.
const INTERNAL: std::ops::Range<u16> = 20_000..32_000;

/// The ports of one stack; chosen once and remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The one public port, on which clients find everything.
    pub gateway: u16,
    /// PostgreSQL.
    pub database: u16,
    /// PostgREST.
    pub rest: u16,
    /// PostgREST's readiness probes.
    pub rest_admin: u16,
    /// The auth stand-in.
    pub auth: u16,
    /// The storage stand-in.
    #[serde(default)]
    pub storage: u16,
    /// The Lambda emulator.
    pub functions: u16,
    /// The mailbox.
    #[serde(default)]
    pub mail: u16,
}

impl Ports {
    /// A new set whose public ports are `gateway` and the one above it; the others are free ones.
    ///
    /// # Errors
    /// When no free port is found.
    pub fn starting_at(gateway: u16) -> Result<Self> {
        let mut ports = Self {
            gateway,
            database: gateway.saturating_add(1),
            rest: 0,
            rest_admin: 0,
            auth: 0,
            storage: 0,
            functions: 0,
            mail: 0,
        };
        ports.choose_internal()?;
        Ok(ports)
    }

    /// A set of free ports only, for a throw-away stack; `database` is that of its cluster.
    ///
    /// # Errors
    /// When no free port is found.
    pub fn all_free(database: u16) -> Result<Self> {
        let mut ports = Self {
            gateway: free()?,
            database,
            rest: 0,
            rest_admin: 0,
            auth: 0,
            storage: 0,
            functions: 0,
            mail: 0,
        };
        ports.choose_internal()?;
        Ok(ports)
    }

    fn choose_internal(&mut self) -> Result<()> {
        for port in [
            &mut self.rest,
            &mut self.rest_admin,
            &mut self.auth,
            &mut self.storage,
            &mut self.functions,
            &mut self.mail,
        ] {
            *port = free()?;
        }
        Ok(())
    }

    /// Replaces the internal ports that someone else took in the meantime.
    ///
    /// # Errors
    /// When no free port is found.
    pub fn refresh_internal(&mut self) -> Result<()> {
        for port in [
            &mut self.rest,
            &mut self.rest_admin,
            &mut self.auth,
            &mut self.storage,
            &mut self.functions,
            &mut self.mail,
        ] {
            // A stack that last ran before a part existed has no port for it.
            if *port == 0 || !is_free(*port) {
                *port = free()?;
            }
        }
        Ok(())
    }

    /// The public ports, with the names that messages use.
    #[must_use]
    pub fn public(&self) -> [(&'static str, u16); 2] {
        [("gateway", self.gateway), ("PostgreSQL", self.database)]
    }
}

/// Whether the port can be listened on right now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

/// Whether something accepts connections on the port.
#[must_use]
pub fn is_open(port: u16) -> bool {
    TcpStream::connect_timeout(
        &SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        Duration::from_millis(300),
    )
    .is_ok()
}

/// A free port chosen at random, so that stacks that start together do not meet.
///
/// # Errors
/// When a thousand guesses found none.
pub fn free() -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::rng().random_range(INTERNAL);
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!(
        "no free port found between {} and {}",
        INTERNAL.start,
        INTERNAL.end
    )
}

/// The process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The folder of the stack it belongs to, if it is one of ours.
    pub stack: Option<PathBuf>,
}

/// Finds out, as far as `/proc` lets this user, who listens on a port.
#[must_use]
pub fn holder(port: u16) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    let sockets: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    process::all().into_iter().find_map(|pid| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds = descriptors.flatten().any(|entry| {
            std::fs::read_link(entry.path()).is_ok_and(|link| {
                sockets
                    .iter()
                    .any(|socket| link.as_os_str() == socket.as_str())
            })
        });
        holds.then(|| Holder {
            pid,
            command: process::command_line(pid),
            stack: process::stack_of(pid),
        })
    })
}

fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            let matches =
                u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
            matches.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
        .collect()
}

/// Decides the ports with which a stopped stack starts.
///
/// `wanted` is the port that the user asked for; `remembered` are those of last time. A port held by ANOTHER stack
/// makes this one move to the next block; a port held by anything else is an error that names the holder.
///
/// # Errors
/// When a port is taken by a stranger, or `wanted` is taken by anyone.
pub fn choose(wanted: Option<u16>, remembered: Option<Ports>) -> Result<Ports> {
    let first = wanted
        .or(remembered.as_ref().map(|ports| ports.gateway))
        .unwrap_or(DEFAULT_GATEWAY);
    let mut ports = match remembered {
        Some(ports) if ports.gateway == first => ports,
        _ => Ports::starting_at(first)?,
    };
    ports.refresh_internal()?;
    for _ in 0..100 {
        let Some((part, port)) = ports.public().into_iter().find(|(_, port)| !is_free(*port))
        else {
            return Ok(ports);
        };
        let holder = holder(port);
        let by = match &holder {
            Some(Holder {
                pid,
                command,
                stack: Some(stack),
            }) => {
                format!(
                    "by the stack in {} (process {pid}: {command})",
                    stack.display()
                )
            }
            Some(Holder {
                pid,
                command,
                stack: None,
            }) => format!("by process {pid}: {command}"),
            None => "by a process that this user may not see".to_owned(),
        };
        let another_stack = holder.is_some_and(|holder| holder.stack.is_some());
        if wanted.is_some() || !another_stack {
            bail!(
                "port {port} (for the {part}) is in use {by}.\nStop that process, or choose another port: LYCEUM_PORT={} make up",
                ports.gateway.saturating_add(BLOCK)
            );
        }
        let next = ports.gateway.saturating_add(BLOCK);
        eprintln!("port {port} is in use {by}; this stack moves to port {next}");
        (ports.gateway, ports.database) = (next, next.saturating_add(1));
    }
    bail!("no free block of ports found above {first}; choose one with LYCEUM_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:D431 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n   \
                     1: 0100007F:D431 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(listening_inodes(table, 54321), ["4711"]);
        assert!(listening_inodes(table, 54322).is_empty());
    }

    #[test]
    fn a_stranger_on_the_wanted_port_is_named_with_the_way_out() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let error = choose(Some(port), None).unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {port}")) && error.contains("LYCEUM_PORT"),
            "{error}"
        );
    }
}
