//! How messages travel: topology, connections, confirmed publishing, consuming, request and reply.
//!
//! ```text
//!            Link  one supervised connection; rebuilds itself for ever, lapin's recovery is off
//!             │
//!    ┌────────┼──────────┬──────────────┐
//!    ▼        ▼          ▼              ▼
//! Publisher  consume  RpcClient ─────► serve_rpc        queue_depth
//! confirms   one      asks until       bounded,
//! by id      stream   answered         answers, acks
//! ```
//!
//! * Every wait for the broker has a time limit ([`BROKER_TIMEOUT`]); what it leaves undecided is
//!   said ([`Published::Unknown`]) and never guessed.
//! * A stream that ends means *build it again*, never *shut down*.
//! * The topology is declared on every new connection before anyone gets a channel of it, so a
//!   broker that was rebuilt empty is put in order by whoever comes first.
//! * A process uses one link to consume and another to publish: the broker stops reading from a
//!   connection that publishes while it is short of memory or disk, and acknowledgements must not
//!   wait behind that.

mod connect;
mod consume;
mod error;
mod link;
mod publish;
mod reach;
mod rpc_client;
mod rpc_server;
pub mod topology;

use std::time::Duration;

pub use consume::{Deliveries, Incoming, close, consume, parked, queue_depth};
pub use error::BrokerError;
pub use link::{Link, LinkState};
pub use publish::{Outgoing, Published, Publisher};
pub use reach::reach;
pub use rpc_client::{AskError, RpcClient};
pub use rpc_server::{Hearing, RpcHandler, serve_rpc};

/// How long one exchange with the broker may take.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
