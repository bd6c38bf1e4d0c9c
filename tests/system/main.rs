//! The system as its users meet it: real processes, a real broker, real files.
//!
//! Each test has a stack of its own, so they run side by side. They need the broker that
//! `cargo xtask test` starts.

#![cfg(test)]

mod backups;
mod cancels;
mod checks;
mod deletes;
mod imports;
mod kept;
mod lists;
mod messages;
mod metrics;
mod names;
mod publisher_example;
mod publishers;
mod refusals;
mod replicas;
mod restores;
mod slow_ones;
mod snapshots;
mod strike;
mod traces;
mod vigilance;
