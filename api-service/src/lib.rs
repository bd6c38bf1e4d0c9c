//! The api-service: the Block Storage API for backups, and the owner of all state.
//!
//! ```text
//! http ──► store ◄── jobs        rules: pure, asked by store
//! ```

pub mod http;
pub mod jobs;
pub mod rules;
mod state;
pub mod store;

pub use state::AppState;
