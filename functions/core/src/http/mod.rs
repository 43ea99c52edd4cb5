//! Requests and answers: routing, reading fields, and what every answer carries.

mod exchange;
mod fields;
mod request_id;
mod response;
mod route;
mod stream;

pub use exchange::{Exchange, Trace};
pub use fields::{FieldValue, Fields};
pub(crate) use request_id::request_id;
pub(crate) use response::finish;
pub use response::{Response, answer, json};
pub(crate) use route::{Found, find, normalized, shown};
pub use stream::{Outgoing, from_file};
