//! The clients that people have, and the Cinder they come from, against a running stack.
//!
//! They are Python programs: `cargo xtask test --clients` installs the pinned ones and names the
//! place. A call takes seconds, so a test tells one story and each verb has its line in it.

#![cfg(test)]

mod cinder;
mod cli;
mod faults;
mod openstack;
mod publisher;
mod reference;
mod snapshots;
