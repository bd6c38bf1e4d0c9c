//! What the system tests stand on: real processes, a real broker, real files.
//!
//! * [`TestStack`]: an api-service and workers of this build, in a world of their own: a fresh vhost
//!   (or a private broker), own directories, own database. Dropping it ends everything; when the
//!   test failed, the logs of its processes are shown.
//! * [`Api`]: the HTTP client, which also checks that each status it sees may follow the one before
//! * [`volume`]: volumes as bytes: writing them, comparing them
//! * [`Target`]: what lies on the backup target
//! * [`Proxy`]: the way of a process to the broker, which can be cut
//! * [`Collector`]: where the services' traces go
//! * [`MemoryLimit`]: what a process may hold at most
//! * [`Listener`]: another service that listens to our events
//!
//! A harness has nobody to return an error to: what goes wrong here panics with a sentence that
//! says what was expected. Nothing sleeps for a guessed time; [`until`] looks again and again.

mod api;
mod broker;
mod builder;
mod collector;
mod database;
mod events;
mod leftovers;
mod logins;
mod model;
mod process;
mod proxy;
mod repeater;
mod stack;
mod target;
pub mod volume;
mod wait;

pub use api::{Answer, Api, NewBackup, Record};
pub use broker::Broker;
pub use builder::Builder;
pub use collector::{Collector, TracedSpan, comes_of, tree as trace_tree};
pub use database::on_postgres;
pub use events::{Event, Listener};
pub use logins::Permissions;
pub use model::{Backup, Progress, Restored, Snapshot, Volume};
pub use process::Process;
pub use proxy::Proxy;
pub use repeater::Repeater;
pub use stack::TestStack;
pub use target::{Target, Tree};
pub use wait::{PATIENCE, until, until_within};
pub use xtask::memory_limit::MemoryLimit;
