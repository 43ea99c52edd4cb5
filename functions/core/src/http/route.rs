//! From method and path to an endpoint. Pure.

use std::{borrow::Cow, collections::BTreeSet};

use http::Method;
use uuid::Uuid;

use crate::{Error, function::Route};

/// Where functions live behind the gateway; direct function URLs have no such prefix.
const PUBLIC_PREFIX: &str = "/functions/v1";

/// How a route's path ends that takes a token.
const TOKEN: &str = "{token}";

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<E> {
    /// The function's own endpoint.
    Endpoint(E),
    /// `GET /<name>/health`.
    Health,
    /// `GET /<name>/openapi.json`.
    Document,
    /// `OPTIONS` of a path that exists.
    Options,
}

/// The path without the public prefix and without a slash at its end.
pub(crate) fn normalized(path: &str) -> &str {
    let path = match path.strip_prefix(PUBLIC_PREFIX) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    };
    match path.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() => shorter,
        _ => path,
    }
}

/// The endpoint of the function `name` for a normalised path.
///
/// # Errors
/// 404, or 405 with the methods that the path does answer to.
pub(crate) fn find<E: Copy>(
    name: &str,
    routes: &[Route<E>],
    method: &Method,
    path: &str,
) -> Result<(Found<E>, String), Error> {
    let own = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(name))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .ok_or(Error::RouteNotFound)?;
    let shared = match own {
        "/health" => Some((Method::GET, Found::Health)),
        "/openapi.json" => Some((Method::GET, Found::Document)),
        _ => None,
    };
    let fixed = shared.is_some() || routes.iter().any(|route| route.path == own);
    let candidates: Vec<(Method, Found<E>)> = shared
        .into_iter()
        .chain(
            routes
                .iter()
                // A token may look like a word; the word comes first.
                .filter(|route| matches(route.path, own) && !(fixed && route.path != own))
                .map(|route| (route.method.clone(), Found::Endpoint(route.endpoint))),
        )
        .collect();
    if candidates.is_empty() {
        return Err(Error::RouteNotFound);
    }
    let allow = allowed(&candidates);
    if *method == Method::OPTIONS {
        return Ok((Found::Options, allow));
    }
    // HEAD is GET without the body.
    let wanted = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    match candidates.iter().find(|(method, _)| method == wanted) {
        Some((_, found)) => Ok((*found, allow)),
        None => Err(Error::MethodNotAllowed { allow }),
    }
}

/// A route's path ends in `{id}` where it takes an id, which nothing else that is served looks like, and in `{token}`
/// where it takes letters, digits, hyphens and underscores.
fn matches(route: &str, path: &str) -> bool {
    if let Some(before) = route.strip_suffix("{id}") {
        path.strip_prefix(before)
            .is_some_and(|id| read_id(id).is_some())
    } else if let Some(before) = route.strip_suffix(TOKEN) {
        path.strip_prefix(before).is_some_and(is_token)
    } else {
        route == path
    }
}

/// The path for the log: a token in it is left out, because it opens what it names.
pub(crate) fn shown<'p, E>(name: &str, routes: &[Route<E>], path: &'p str) -> Cow<'p, str> {
    let own = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(name))
        .unwrap_or(path);
    if routes.iter().any(|route| route.path == own) {
        return Cow::Borrowed(path);
    }
    match routes
        .iter()
        .find(|route| route.path.ends_with(TOKEN) && matches(route.path, own))
    {
        Some(route) if !matches!(own, "/health") => Cow::Owned(format!("/{name}{}", route.path)),
        _ => Cow::Borrowed(path),
    }
}

/// Whether the text may stand where a path says `{token}`.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The id at the end of a path, in the one spelling that the database's own API takes.
pub(crate) fn read_id(text: &str) -> Option<Uuid> {
    (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

fn allowed<E>(candidates: &[(Method, Found<E>)]) -> String {
    let mut methods: BTreeSet<&str> = candidates
        .iter()
        .map(|(method, _)| method.as_str())
        .collect();
    if methods.contains("GET") {
        methods.insert("HEAD");
    }
    methods.insert("OPTIONS");
    methods.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn route(method: Method, path: &'static str, endpoint: u8) -> Route<u8> {
        Route {
            method,
            path,
            endpoint,
        }
    }

    fn at(method: &Method, path: &str) -> Result<(Found<u8>, String), Error> {
        let routes = [
            route(Method::POST, "", 1),
            route(Method::GET, "/eligibility", 2),
            route(Method::PATCH, "/{id}", 3),
        ];
        find("enrollment", &routes, method, normalized(path))
    }

    #[test]
    fn both_addresses_lead_to_the_same_endpoint() {
        for path in [
            "/enrollment/eligibility",
            "/enrollment/eligibility/",
            "/functions/v1/enrollment/eligibility",
        ] {
            assert_eq!(
                at(&Method::GET, path).unwrap().0,
                Found::Endpoint(2),
                "{path}"
            );
            assert_eq!(at(&Method::HEAD, path).unwrap().0, Found::Endpoint(2));
        }
        for path in ["/enrollment", "/enrollment/", "/functions/v1/enrollment"] {
            assert_eq!(
                at(&Method::POST, path).unwrap().0,
                Found::Endpoint(1),
                "{path}"
            );
        }
        assert_eq!(
            at(&Method::GET, "/enrollment/health").unwrap().0,
            Found::Health
        );
        assert_eq!(
            at(&Method::GET, "/enrollment/openapi.json").unwrap().0,
            Found::Document
        );
    }

    #[test]
    fn an_id_is_one() {
        let id = "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";
        let found = at(&Method::PATCH, &format!("/enrollment/{id}"));
        assert_eq!(found.unwrap().0, Found::Endpoint(3));
        for path in [
            "/enrollment/{id}".to_owned(),
            "/enrollment/1".to_owned(),
            format!("/enrollment/{id}/"),
            format!("/enrollment/{id}/x"),
            format!("/enrollment/{{{id}}}"),
            format!("/enrollment/{}", id.replace('-', "")),
            format!("/enrollment//{id}"),
        ] {
            let normal = normalized(&path) == format!("/enrollment/{id}");
            assert_eq!(at(&Method::PATCH, &path).is_ok(), normal, "{path}");
        }
        let Err(Error::MethodNotAllowed { allow }) = at(&Method::PATCH, "/enrollment/eligibility")
        else {
            panic!("a path that exists");
        };
        assert_eq!(allow, "GET, HEAD, OPTIONS");
    }

    #[test]
    fn a_token_is_taken_where_no_word_stands_and_not_logged() {
        let routes = [
            route(Method::GET, "/jwks", 1),
            route(Method::GET, "/{token}", 2),
            route(Method::GET, "/keys/{token}", 3),
        ];
        let at = |path: &str| find("credentials", &routes, &Method::GET, path).map(|found| found.0);
        assert_eq!(at("/credentials/jwks").unwrap(), Found::Endpoint(1));
        assert_eq!(at("/credentials/0AB-c_d").unwrap(), Found::Endpoint(2));
        assert_eq!(at("/credentials/keys/0AB").unwrap(), Found::Endpoint(3));
        assert_eq!(at("/credentials/health").unwrap(), Found::Health);
        for path in [
            "/credentials",
            "/credentials/a.b",
            "/credentials/a/b",
            "/credentials/%41",
            "/credentials/keys/",
        ] {
            assert!(matches!(at(path), Err(Error::RouteNotFound)), "{path}");
        }
        for (path, logged) in [
            ("/credentials/0ABCD", "/credentials/{token}"),
            ("/credentials/keys/0ABCD", "/credentials/keys/{token}"),
            ("/credentials/jwks", "/credentials/jwks"),
            ("/credentials/health", "/credentials/health"),
            ("/credentials/openapi.json", "/credentials/openapi.json"),
        ] {
            assert_eq!(shown("credentials", &routes, path), logged, "{path}");
        }
    }

    #[test]
    fn other_paths_do_not_exist() {
        for path in [
            "",
            "/",
            "/functions/v1",
            "/functions/v1/",
            "/functions/v1enrollment",
            "/functions/v1/functions/v1/enrollment",
            "/enrollments",
            "/enrollment//",
            "//enrollment",
            "/enrollment//eligibility",
            "/enrollment/../enrollment",
            "/enrollment/%65ligibility",
            "/Enrollment",
            "/reporting",
        ] {
            assert!(
                matches!(at(&Method::POST, path), Err(Error::RouteNotFound)),
                "{path}"
            );
        }
    }

    #[test]
    fn other_methods_are_told_which_ones_there_are() {
        let Err(Error::MethodNotAllowed { allow }) = at(&Method::DELETE, "/enrollment/eligibility")
        else {
            panic!("a path that exists");
        };
        assert_eq!(allow, "GET, HEAD, OPTIONS");
        assert!(matches!(
            at(&Method::OPTIONS, "/enrollment"),
            Ok((Found::Options, allow)) if allow == "OPTIONS, POST"
        ));
    }

    proptest! {
        #[test]
        fn any_path_is_routed_without_a_panic(path in "(/|functions/v1|enrollment|.){0,12}") {
            let _ = at(&Method::GET, &path);
        }

        #[test]
        fn the_prefix_changes_nothing(path in "(/[a-z.%]{0,12}){1,4}") {
            let prefixed = format!("{PUBLIC_PREFIX}{path}");
            prop_assume!(!path.starts_with(PUBLIC_PREFIX));
            prop_assert_eq!(
                at(&Method::GET, &prefixed).ok().map(|found| found.0),
                at(&Method::GET, &path).ok().map(|found| found.0)
            );
        }
    }
}
