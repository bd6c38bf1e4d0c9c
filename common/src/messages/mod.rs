//! Everything that travels over the broker.
//!
//! * [`jobs`]: the doorbell that sends a worker to claim a job
//! * [`published`]: what other services may ask for by message, and what they are answered
//! * [`rpc`]: what workers ask the state owner: claim, renew, frozen, restart, fail, commit, release, finish, submit
//! * [`sheet`]: all a worker needs to do a job; comes with the grant
//! * [`events`]: CloudEvents for anyone who listens
//!
//! Unknown fields are ignored, so that a newer side may say more.

pub mod events;
pub mod jobs;
pub mod published;
pub mod rpc;
pub mod sheet;
