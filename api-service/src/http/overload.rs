//! Takes no new work while too many messages wait for the broker.

use super::error::ApiError;
use crate::state::AppState;

/// Refuses a request that would add work when the outbox is above its high-water mark.
pub(super) async fn refuse_when_overloaded(state: &AppState) -> Result<(), ApiError> {
    let waiting = state.store.outbox_backlog().await?;
    if waiting > u64::from(state.settings.jobs.outbox_high_water) {
        Err(ApiError::Overloaded)
    } else {
        Ok(())
    }
}
