//! Which part answers a path.

use http::{Method, StatusCode};
use serde_json::json;

use super::GatewayConfig;
use super::reply::Reply;
use crate::storage::LARGEST_OBJECT;

/// A mebibyte.
const MIB: u64 = 1024 * 1024;

/// Who checks the caller's right to reach a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// An API key is needed.
    Key,
    /// An API key or a valid user token is needed.
    KeyOrToken,
    /// Everyone may come.
    Open,
}

/// Where one request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The part's name for people.
    pub part: &'static str,
    /// Its port on loopback.
    pub port: u16,
    /// The path that the part sees.
    pub path: String,
    /// What the gateway cut off, told to the part as X-Forwarded-Prefix.
    pub prefix: &'static str,
    /// Who may come.
    pub guard: Guard,
    /// Largest body, in bytes.
    pub body_limit: u64,
    /// Whether bodies that say they are text must be: an invocation event carries them as a JSON string.
    pub text_only: bool,
}

/// Paths of auth that browsers open without a key: links in mails, and the public keys.
const OPEN_AUTH_PATHS: [&str; 4] = [
    "/verify",
    "/authorize",
    "/callback",
    "/.well-known/jwks.json",
];

/// The function whose pages browsers open without a key: links and QR codes on certificates.
const OPEN_FUNCTION: &str = "credentials";

/// Finds the route of a path, or the answer for a path that has none.
pub fn find(method: &Method, path: &str, config: &GatewayConfig) -> Result<Route, Reply> {
    if let Some(rest) = below(path, "/rest/v1") {
        return Ok(Route {
            part: "PostgREST",
            port: config.rest_port,
            path: rest,
            prefix: "/rest/v1",
            guard: Guard::Key,
            body_limit: 10 * MIB,
            text_only: false,
        });
    }
    if let Some(rest) = below(path, "/auth/v1") {
        let open = OPEN_AUTH_PATHS.contains(&rest.as_str());
        return Ok(Route {
            part: "the auth stand-in",
            port: config.auth_port,
            path: rest,
            prefix: "/auth/v1",
            guard: if open { Guard::Open } else { Guard::Key },
            body_limit: MIB,
            text_only: false,
        });
    }
    if let Some(rest) = below(path, "/functions/v1") {
        let is_get = matches!(*method, Method::GET | Method::HEAD);
        return function(is_get, &rest, config);
    }
    if let Some(rest) = below(path, "/storage/v1") {
        let guard = if is_open_storage(method, &rest) {
            Guard::Open
        } else {
            Guard::KeyOrToken
        };
        return Ok(Route {
            part: "the storage stand-in",
            port: config.storage_port,
            path: rest,
            prefix: "/storage/v1",
            guard,
            // Room for the largest object in a form; what a bucket takes, storage decides.
            body_limit: LARGEST_OBJECT + MIB,
            text_only: false,
        });
    }
    if below(path, "/realtime/v1").is_some() {
        return Err(Reply::new(
            StatusCode::NOT_IMPLEMENTED,
            "This local stack has no realtime server: poll instead, or use a hosted project.",
        ));
    }
    if path == "/" && method == Method::GET {
        return Err(Reply::json(
            StatusCode::OK,
            json!({
                "name": "Lyceum, local stack",
                "rest": "/rest/v1/",
                "auth": "/auth/v1/",
                "storage": "/storage/v1/",
                "functions": config.functions.iter().map(|name| format!("/functions/v1/{name}")).collect::<Vec<_>>(),
            }),
        ));
    }
    Err(
        Reply::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
            .hint("The routes are /rest/v1, /auth/v1, /storage/v1 and /functions/v1."),
    )
}

/// Paths of storage that carry their own right, or need none: browsers open them from links.
fn is_open_storage(method: &Method, path: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    match *method {
        Method::GET | Method::HEAD => {
            begins(&["/object/public/", "/object/sign/", "/object/info/public/"])
        }
        Method::PUT => begins(&["/object/upload/sign/"]),
        _ => false,
    }
}

fn function(is_get: bool, rest: &str, config: &GatewayConfig) -> Result<Route, Reply> {
    let name = rest
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    if !config.functions.contains(name) {
        let known = config
            .functions
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let hint = if known.is_empty() {
            "This stack runs no functions.".to_owned()
        } else {
            format!("There are: {known}.")
        };
        return Err(
            Reply::new(StatusCode::NOT_FOUND, "There is no function of this name.").hint(&hint),
        );
    }
    Ok(Route {
        part: "the functions",
        port: config.functions_port,
        // The function sees its whole public path, as it does behind a function URL with CloudFront.
        path: format!("/lambda-url/{name}/functions/v1{rest}"),
        prefix: "",
        guard: if is_get && name == OPEN_FUNCTION {
            Guard::Open
        } else {
            Guard::KeyOrToken
        },
        body_limit: 6 * MIB,
        text_only: true,
    })
}

/// What follows `prefix` in `path`, always with a leading slash.
fn below(path: &str, prefix: &str) -> Option<String> {
    let rest = path.strip_prefix(prefix)?;
    match rest.as_bytes().first() {
        None => Some("/".to_owned()),
        Some(b'/') => Some(rest.to_owned()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert_eq!(below("/rest/v1", "/rest/v1").as_deref(), Some("/"));
        assert_eq!(
            below("/rest/v1/courses", "/rest/v1").as_deref(),
            Some("/courses")
        );
        assert_eq!(below("/rest/v10", "/rest/v1"), None);
    }
}
