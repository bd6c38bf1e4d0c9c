//! The set-up a developer's machine needs, in Rust: programs, a private broker, a running stack, the
//! demo, the checks and the tests.
//!
//! The system tests use [`rabbitmq::Node`], [`postgres::Cluster`], [`stack::Stack`] and [`memory_limit::MemoryLimit`] too. There is no logic of the product here:
//! the services are started as a user would start them and spoken to by HTTP alone.
//!
//! **Invariants.** Everything listens on loopback. A process is ended by its id and start time, never by its
//! name. What is started here ends when its value is dropped, unless it was told to live on.

pub mod bench;
pub mod build;
pub mod chaos;
pub mod check;
pub mod compose;
pub mod config_file;
pub mod demo;
pub mod faults;
pub mod files;
pub mod install;
pub mod memory_limit;
pub mod nfs;
pub mod postgres;
pub mod process;
pub mod python;
pub mod rabbitmq;
pub mod reflink;
pub mod say;
pub mod stack;
pub mod stage;
pub mod test;
pub mod uml;
