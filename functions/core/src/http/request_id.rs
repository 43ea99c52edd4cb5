//! The id under which a request appears in the logs.

use lambda_http::{Request, RequestExt};
use uuid::Uuid;

/// The header that brings an id and takes it back.
pub(crate) const HEADER: &str = "x-request-id";

/// The client's own id if it is sane, else Lambda's, else a new one.
pub(crate) fn request_id(request: &Request) -> String {
    let given = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|value| is_sane(value));
    let invocation = request
        .lambda_context_ref()
        .map(|context| context.request_id.as_str())
        .filter(|value| is_sane(value));
    given
        .or(invocation)
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Long enough to be unique, short enough to log, and without characters that
/// mean something to a log, a shell or a page.
fn is_sane(id: &str) -> bool {
    (8..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;

    use super::*;

    fn with(id: &str) -> String {
        request_id(
            &http::Request::builder()
                .header(HEADER, id)
                .body(Body::Empty)
                .unwrap(),
        )
    }

    #[test]
    fn a_sane_id_is_kept_and_another_replaced() {
        assert_eq!(with("0af7651916cd43dd"), "0af7651916cd43dd");
        for id in [
            "short",
            "<script>alert</script>",
            "with space",
            &"a".repeat(65),
        ] {
            assert_ne!(with(id), id);
        }
    }
}
