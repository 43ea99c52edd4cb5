//! The local stack of Lyceum: a Supabase project's parts on one machine, for development and tests.
//!
//! PostgreSQL, PostgREST, the Supabase CLI and the Lambda emulator are the real programs. The gateway and the
//! stand-ins for auth and storage are ours; they listen on loopback only and are no part of what is deployed.

pub mod auth;
pub mod bench;
pub mod commands;
pub mod doctor;
pub mod files;
pub mod functions;
pub mod gateway;
pub mod import;
pub mod keys;
pub mod mailbox;
pub mod output;
pub mod ports;
pub mod postgres;
pub mod postgrest;
pub mod probe;
pub mod process;
pub mod sandbox;
pub mod snapshot;
pub mod stack;
pub mod storage;
pub mod supervisor;
