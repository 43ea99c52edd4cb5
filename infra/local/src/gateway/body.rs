//! Bodies that pass through: bounded on the way in, untouched on the way out.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A body grew over its limit.
#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than {0} bytes")]
pub struct TooLarge(pub u64);

/// A request's body that fails as soon as it is larger than allowed.
pub struct Bounded {
    /// Absent after the limit was passed: then the rest is drained elsewhere.
    inner: Option<Incoming>,
    limit: u64,
    left: u64,
    exceeded: Arc<AtomicBool>,
}

impl Bounded {
    /// A body of at most `limit` bytes; `exceeded` tells afterwards whether it was more.
    pub fn new(inner: Incoming, limit: u64, exceeded: Arc<AtomicBool>) -> Self {
        Self {
            inner: Some(inner),
            limit,
            left: limit,
            exceeded,
        }
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
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        if length > self.left {
            self.exceeded.store(true, Ordering::Release);
            if let Some(rest) = self.inner.take() {
                drain(rest);
            }
            return Poll::Ready(Some(Err(Box::new(TooLarge(self.limit)))));
        }
        self.left -= length;
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
