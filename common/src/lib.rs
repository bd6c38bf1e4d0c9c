//! What both sides of Emberkeep share.
//!
//! ```text
//! domain  ◄── messages ◄── broker          config   telemetry, metrics
//! words       what travels  how it travels  one file  logs and numbers of both binaries
//! ```
//!
//! Nothing here knows a business rule of either side: the api-service decides, the backup-worker
//! does, and this crate lets them talk about it.

pub mod broker;
pub mod checks;
pub mod config;
pub mod domain;
pub mod faults;
pub mod messages;
pub mod metrics;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
