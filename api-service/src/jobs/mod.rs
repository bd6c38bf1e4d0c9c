//! The life of jobs after they are accepted.
//!
//! ```text
//! leader         which of several api-services runs the next three
//! outbox_relay   rows that wait ──► broker, with confirms
//! protocol/      claim renew frozen restart fail commit release finish submit: one transaction each
//! reaper         leases whose renewals stand still ──► queued again, or given up
//! reconciler     jobs that should run and do not: lost messages, absent workers, deadlines
//! progress       what workers say about themselves and their jobs; memory only
//! unrouted       doorbells nobody is bound for
//! parked         messages nobody could handle ──► a table, for a person
//! intake         the way in for what other services publish
//! ```

mod board;
mod intake;
pub(crate) mod leader;
mod lease_end;
pub(crate) mod outbox_relay;
pub(crate) mod parked;
pub(crate) mod progress;
mod protocol;
pub(crate) mod reaper;
pub(crate) mod reconciler;
pub(crate) mod unrouted;

pub use board::{LiveWorkers, ProgressBoard};
pub use intake::Intake;
pub use protocol::Protocol;
