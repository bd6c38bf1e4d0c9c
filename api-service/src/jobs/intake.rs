//! The way in for what other services publish.

use std::fmt::Debug;

use async_trait::async_trait;
use common::messages::rpc::{Submit, Submitted};

use crate::store::StoreError;

/// Takes in messages that are no doorbells: makes jobs of them, or says why not.
#[async_trait]
pub trait Intake: Debug + Send + Sync {
    /// Durable when it answers, and the same for a repeat.
    ///
    /// # Errors
    /// When the database fails.
    async fn take(&self, submit: &Submit) -> Result<Submitted, StoreError>;
}
