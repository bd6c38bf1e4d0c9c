//! The backup worker: takes jobs from the broker and moves volume data.

pub mod engine;
pub mod format;
pub mod store;
pub mod volume;
