//! The api-service: the Block Storage API for backups, and the owner of all state.
