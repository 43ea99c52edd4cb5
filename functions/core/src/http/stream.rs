//! Answers that are too long to be held in memory: they wait in a file, and are sent from it piece by piece.

use std::{
    fs::File,
    io::{self, Read},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lambda_http::Body;

use super::response::{Response, answer};

/// What is read of the file at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// The file behind an answer, taken out once. It is not part of [`Body`], which holds bytes only.
#[derive(Clone)]
struct Behind(Arc<Mutex<Option<File>>>);

/// An answer whose body is what the file holds, from where it stands. For functions that are started with
/// [`crate::run_streaming`]; others would send nothing.
pub fn from_file(status: StatusCode, content_type: &'static str, file: File) -> Response {
    let mut response = answer(status, content_type, Body::Empty);
    response
        .extensions_mut()
        .insert(Behind(Arc::new(Mutex::new(Some(file)))));
    response
}

/// The body of an answer on its way out.
#[derive(Debug)]
pub enum Outgoing {
    /// Bytes in memory.
    Whole(Option<Bytes>),
    /// A file, read as it is sent.
    File(File),
}

impl Outgoing {
    /// Takes an answer's body out, be it in memory or in a file.
    pub fn of(response: Response) -> http::Response<Self> {
        let (mut head, body) = response.into_parts();
        let file = head
            .extensions
            .remove::<Behind>()
            .and_then(|behind| behind.0.lock().ok()?.take());
        let body = match (file, body) {
            (Some(file), _) => Self::File(file),
            (None, Body::Text(text)) => Self::Whole(Some(text.into())),
            (None, Body::Binary(bytes)) => Self::Whole(Some(bytes.into())),
            (None, _) => Self::Whole(None),
        };
        http::Response::from_parts(head, body)
    }

    /// Forgets what stands behind an answer, which then has no body: HEAD.
    pub(crate) fn forget(response: &mut Response) {
        response.extensions_mut().remove::<Behind>();
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            // The file is on this machine and was written a moment ago: it is read from memory, as a rule.
            Self::File(file) => {
                let mut piece = Vec::with_capacity(PIECE);
                match file.take(PIECE as u64).read_to_end(&mut piece) {
                    Ok(0) => None,
                    Ok(_) => Some(piece.into()),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
        };
        Poll::Ready(
            piece
                .filter(|piece| !piece.is_empty())
                .map(|piece| Ok(Frame::data(piece))),
        )
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::File(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek, Write},
        task::Waker,
    };

    use super::*;

    fn sent(response: Response) -> Vec<Vec<u8>> {
        let mut body = Outgoing::of(response).into_body();
        let mut context = Context::from_waker(Waker::noop());
        let mut pieces = Vec::new();
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
            pieces.push(frame.unwrap().into_data().unwrap().to_vec());
        }
        pieces
    }

    #[test]
    fn a_file_is_sent_whole_in_pieces() {
        let path = std::env::temp_dir().join(format!("lyceum-stream-{}", uuid::Uuid::new_v4()));
        let mut file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        let content: Vec<u8> = (0..200_000_u32).map(|place| (place % 251) as u8).collect();
        file.write_all(&content).unwrap();
        file.rewind().unwrap();
        let pieces = sent(from_file(StatusCode::OK, "text/csv", file));
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(pieces.concat(), content);
    }

    #[test]
    fn what_is_in_memory_is_sent_at_once() {
        let text = answer(StatusCode::OK, "text/plain", Body::Text("ab".to_owned()));
        assert_eq!(sent(text), [b"ab".to_vec()]);
        let none = answer(StatusCode::NO_CONTENT, "text/plain", Body::Empty);
        assert!(sent(none).is_empty());
    }
}
