//! An nfs target on the kernel's own client and server: whole stacks, and a server that comes and goes.
//!
//! `cargo xtask test --nfs` runs this in a guest that has both; see `xtask/src/nfs.rs`. What a test saw it prints as a
//! line `ROW: …`, which becomes a row of a table.

#![cfg(test)]

mod outages;
mod server;
mod stories;
mod workers;
