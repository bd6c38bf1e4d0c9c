//! Who of several api-services runs what only one may run at a time: relay, reaper, reconciler.

use common::telemetry::error_chain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::{Lead, Store, StoreError, TRY_LEAD_AGAIN};

/// Whether this process has the lead now.
pub(crate) type Leading = watch::Receiver<bool>;

/// Asks for the lead, keeps it, and tells `leading` of it, until `stop`: then somebody else may have it, so what is
/// done under it has to have ended before.
pub(crate) async fn run(store: Store, leading: watch::Sender<bool>, stop: CancellationToken) {
    let mut lead = None;
    loop {
        let had = lead.is_some();
        lead = match keep_or_ask(&store, lead).await {
            Ok(lead) => lead,
            Err(error) => {
                if had {
                    tracing::warn!(error = error_chain(&error), "the lead is lost");
                } else {
                    tracing::debug!(
                        error = error_chain(&error),
                        "nobody can be asked for the lead"
                    );
                }
                None
            }
        };
        if lead.is_some() && !had {
            tracing::info!("this api-service has the lead");
        }
        leading.send_replace(lead.is_some());
        let pause = tokio::time::sleep(TRY_LEAD_AGAIN);
        if stop.run_until_cancelled(pause).await.is_none() {
            break;
        }
    }
    leading.send_replace(false);
    if let Some(lead) = lead {
        lead.give_up().await;
    }
}

async fn keep_or_ask(store: &Store, lead: Option<Lead>) -> Result<Option<Lead>, StoreError> {
    match lead {
        Some(mut lead) => lead.keep().await.map(|()| Some(lead)),
        None => store.try_lead().await,
    }
}
