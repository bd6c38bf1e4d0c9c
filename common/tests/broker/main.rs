//! The broker library against a real broker, with a proxy between where a fault is wanted.
//!
//! Tests share one vhost: each uses its own zone, so its own job queues. `bk.v1.rpc` has one name
//! only; [`Broker::rpc`] lets one test at a time use it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod link;
mod parked;
mod proxy;
mod publish;
mod rpc;
mod topology;

use std::future::Future;
use std::time::Duration;

use common::broker::Link;
use common::config::Amqp;
use common::domain::{JobKind, QueueKey, Token};
use lapin::options::QueuePurgeOptions;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Where the broker is.
const URL: &str = "EMBERKEEP_TEST_AMQP_URL";
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test needs of the broker; ends its tasks and connections when dropped.
struct Broker {
    url: String,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Broker {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the tests read their setting"
    )]
    fn given() -> Self {
        let url = std::env::var(URL).expect("start the tests with `cargo xtask test`");
        Self {
            url,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    fn link(&self) -> Link {
        self.link_by(&self.url)
    }

    fn link_by(&self, url: &str) -> Link {
        let amqp = Amqp {
            url: url.to_owned(),
            ..Amqp::default()
        };
        Link::start(
            &amqp,
            "test/broker/any".to_owned(),
            &self.tracker,
            self.stop.clone(),
        )
    }

    /// Host and port of the broker.
    fn address(&self) -> String {
        let rest = self
            .url
            .rsplit_once('@')
            .map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap().to_owned()
    }

    /// The same url by way of a proxy, and with a heartbeat that is soon missed.
    fn url_through(&self, proxy: &proxy::Proxy) -> String {
        let there = self.url.replacen(&self.address(), &proxy.address(), 1);
        let separator = if there.contains('?') { '&' } else { '?' };
        format!("{there}{separator}heartbeat=1")
    }

    /// The one RPC queue, empty, for this test alone.
    async fn rpc(&self) -> MutexGuard<'static, ()> {
        static RPC: Mutex<()> = Mutex::const_new(());
        let mine = RPC.lock().await;
        let channel = self.link().channel().await.unwrap();
        let options = QueuePurgeOptions::default();
        channel
            .queue_purge("bk.v1.rpc".into(), options)
            .await
            .unwrap();
        mine
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A key nobody else uses.
fn fresh_key(kind: JobKind) -> QueueKey {
    QueueKey {
        kind,
        zone: Token::new(format!("zone-{}", Uuid::now_v7())).unwrap(),
        backend: Token::new("fast").unwrap(),
    }
}

/// Waits for a condition that nothing announces.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, looking).await;
    seen.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits, but fails the test rather than hang it.
fn soon<T>(answer: impl Future<Output = T>) -> impl Future<Output = T> {
    let answer = tokio::time::timeout(PATIENCE, Box::pin(answer));
    async { answer.await.expect("this takes too long") }
}
