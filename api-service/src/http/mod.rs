//! The Block Storage API, as far as backups and their clients need it.
//!
//! ```text
//! request ─► url        both URL forms and `.json` become one path
//!         ─► observe    request id, version, caller, links; one log line; headers of the answer
//!         ─► router     a folder for each resource, a file for each verb
//!            ├─ extract, validate, listing    the request, checked
//!            ├─ state.store                   the deed: one transaction, with its rules
//!            └─ view                          the answer
//!         ─► error      every fault: the only place that knows their status codes
//! ```
//!
//! **Absent on purpose.** Nothing here decides what may be done with a backup or volume: that is a
//! rule, checked in the transaction that does it. Nothing here opens a volume or a backup target.

mod admin;
mod backups;
mod catalogue;
mod error;
mod extract;
mod health;
mod links;
mod listing;
mod metadata;
mod metrics;
mod observe;
mod overload;
pub(crate) mod published;
mod router;
mod snapshots;
mod time;
mod url;
mod validate;
mod versions;
mod volume_types;
mod volumes;

pub use router::router;

#[cfg(test)]
mod tests;
