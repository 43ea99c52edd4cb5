//! Bodies that pass through: bounded on the way in, untouched on the way out.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// Errors of bodies: the transport's, or [`TooLarge`].
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// Any body the gateway sends.
pub type Body = BoxBody<Bytes, BodyError>;

/// Most that is read and thrown away of a body that was refused.
const LARGEST_DRAIN: u64 = 64 * 1024 * 1024;
/// Longest time spent on that.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// An empty body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body in memory.
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A body from a part, streamed.
pub fn stream(incoming: Incoming) -> Body {
    incoming
        .map_err(|error| Box::new(error) as BodyError)
        .boxed()
}

/// Why a body is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It grew over its limit.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    /// It calls itself text and is not.
    #[error("the request body is not UTF-8")]
    NotText,
}

/// A request's body that fails as soon as it is larger than allowed or, where text is due, not UTF-8.
pub struct Bounded {
    /// Absent when there is none, and after a refusal: then the rest is drained elsewhere.
    inner: Option<Incoming>,
    limit: u64,
    left: u64,
    text: Option<TextCheck>,
    refusal: Arc<OnceLock<Refusal>>,
}

impl Bounded {
    /// A body of at most `limit` bytes; `refusal` tells afterwards why it was not passed on.
    pub fn new(
        inner: Incoming,
        limit: u64,
        is_text: bool,
        refusal: Arc<OnceLock<Refusal>>,
    ) -> Self {
        Self {
            inner: Some(inner),
            limit,
            left: limit,
            text: is_text.then(TextCheck::default),
            refusal,
        }
    }

    /// No body.
    pub fn empty() -> Self {
        Self {
            inner: None,
            limit: 0,
            left: 0,
            text: None,
            refusal: Arc::new(OnceLock::new()),
        }
    }

    fn check(&mut self, data: &[u8]) -> Option<Refusal> {
        let length = data.len() as u64;
        if length > self.left {
            return Some(Refusal::TooLarge(self.limit));
        }
        self.left -= length;
        let is_text = self.text.as_mut().is_none_or(|text| text.accepts(data));
        (!is_text).then_some(Refusal::NotText)
    }

    fn refuse(&mut self, refusal: Refusal) -> BodyError {
        let _ = self.refusal.set(refusal);
        if let Some(rest) = self.inner.take() {
            drain(rest);
        }
        Box::new(refusal)
    }
}

/// Checks that pieces, put together, are UTF-8.
#[derive(Debug, Default)]
struct TextCheck {
    /// The beginning of a character that the next piece goes on with; at most three bytes.
    cut_off: Vec<u8>,
}

impl TextCheck {
    fn accepts(&mut self, piece: &[u8]) -> bool {
        let joined;
        let bytes = if self.cut_off.is_empty() {
            piece
        } else {
            joined = [std::mem::take(&mut self.cut_off).as_slice(), piece].concat();
            &joined
        };
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                self.cut_off = bytes[error.valid_up_to()..].to_vec();
                true
            }
            Err(_) => false,
        }
    }

    fn is_whole(&self) -> bool {
        self.cut_off.is_empty()
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = match ready!(Pin::new(inner).poll_frame(context)) {
            None if self.text.as_ref().is_some_and(|text| !text.is_whole()) => {
                return Poll::Ready(Some(Err(self.refuse(Refusal::NotText))));
            }
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        if let Some(refusal) = frame.data_ref().and_then(|data| self.check(data)) {
            return Poll::Ready(Some(Err(self.refuse(refusal))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// Reads the rest of a refused body and throws it away, within bounds: a client that is still sending would otherwise
/// see its connection reset instead of the answer.
pub fn drain(mut incoming: Incoming) {
    if incoming.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let mut read = 0;
        let discard = async {
            while let Some(Ok(frame)) = incoming.frame().await {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > LARGEST_DRAIN {
                    break;
                }
            }
        };
        // Running out of time means the same as running out of patience: the connection closes.
        let _ = tokio::time::timeout(LONGEST_DRAIN, discard).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_may_be_cut_anywhere() {
        let text = "a\u{e9}\u{20ac}\u{1f600}".as_bytes();
        for cut in 0..=text.len() {
            let mut check = TextCheck::default();
            assert!(check.accepts(&text[..cut]) && check.accepts(&text[cut..]) && check.is_whole());
        }
        let mut one_by_one = TextCheck::default();
        assert!(text.iter().all(|byte| one_by_one.accepts(&[*byte])) && one_by_one.is_whole());
    }

    #[test]
    fn what_is_not_text_is_noticed() {
        assert!(!TextCheck::default().accepts(b"a\xff"));
        let mut overlong = TextCheck::default();
        assert!(!(overlong.accepts(b"\xc3") && overlong.accepts(b"(")));
        let mut unfinished = TextCheck::default();
        assert!(unfinished.accepts(b"\xe2\x82") && !unfinished.is_whole());
    }
}
