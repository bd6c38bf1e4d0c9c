//! Tests that take long. `cargo xtask test --quick` leaves them out by the name of this module.

mod crashes;
mod drains;
mod histories;
mod memory;
mod outages;
mod queues;
mod snapshots;
