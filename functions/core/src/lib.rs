//! What every Lyceum function shares: configuration, token verification, the
//! PostgREST client, problem answers, request handling and logs.
//!
//! A function implements [`Function`] for an enum of its endpoints and starts
//! with [`run`]; its `main.rs` holds nothing else.

pub mod auth;
pub mod config;
pub mod database;
pub mod error;
pub mod function;
pub mod health;
pub mod http;
pub mod openapi;
mod runtime;
pub mod services;
pub mod telemetry;
mod upstream;

pub use auth::{Caller, Identity};
pub use config::Config;
pub use database::{CallerDatabase, Repeat, ServiceDatabase};
pub use error::Error;
pub use function::{Function, Route, respond};
pub use http::{Exchange, Response};
pub use runtime::{run, run_streaming};
pub use services::Services;
