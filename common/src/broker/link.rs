//! One supervised connection.
//!
//! ```text
//!           connected, topology declared
//!   Down ────────────────────────────────► Up{epoch} ◄──unblocked── Blocked
//!    ▲  ▲                                    │  └────────blocked──────►│
//!    │  └── full jitter, no attempt limit    │                         │
//!    └──── lost, closed, or said broken ◄────┴─────────────────────────┘
//! ```
//!
//! lapin's own recovery stays off: it hides that deliveries became void, and it gives up. Here a
//! lost connection is dropped whole and a new one made; each has a new *epoch*.
//!
//! Until the link was up once, a refused login or a queue with other arguments ends it
//! ([`Link::failed`]), so that a process does not start with a configuration that cannot work.
//! Later the same is only logged and tried again: running jobs are worth more than a quick exit.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connect::{connect, parse_url};
use super::error::within;
use super::{BROKER_TIMEOUT, BrokerError};
use crate::config::Amqp;
use crate::retry::Backoff;
use crate::telemetry::error_chain;

const REBUILD_FIRST: Duration = Duration::from_millis(200);
const REBUILD_LONGEST: Duration = Duration::from_secs(15);
/// lapin tells of a lost connection by an event; this is how long one that it forgot can go unseen.
const STATUS_LOOK: Duration = Duration::from_secs(1);

/// A connection to the broker that comes back by itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    stop: CancellationToken,
    state: watch::Sender<LinkState>,
    live: watch::Sender<Option<Live>>,
    /// The epoch a user saw break.
    broken: watch::Sender<u64>,
    /// Why the link gave up for good.
    failure: OnceLock<BrokerError>,
    failed: CancellationToken,
}

/// What users of the link see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Connected; the topology is declared.
    Up {
        /// Counts the connections of this link, from 1.
        epoch: u64,
    },
    /// Not connected.
    Down {
        /// For people: why.
        why: String,
    },
    /// Connected, but the broker takes no messages: it is short of memory or disk.
    Blocked,
}

/// The connection of one epoch.
#[derive(Debug, Clone)]
struct Live {
    epoch: u64,
    is_blocked: bool,
    connection: Arc<Connection>,
}

impl Link {
    /// Starts to connect, and goes on until `stop`, which should come last: what is acknowledged
    /// later is lost. `name` is shown by the broker: `<service>/<instance>/<role>`.
    #[must_use]
    pub fn start(
        amqp: &Amqp,
        name: String,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let down = LinkState::Down {
            why: "not connected yet".to_owned(),
        };
        let link = Self(Arc::new(Inner {
            name,
            stop,
            state: watch::Sender::new(down),
            live: watch::Sender::new(None),
            broken: watch::Sender::new(0),
            failure: OnceLock::new(),
            failed: CancellationToken::new(),
        }));
        match parse_url(&amqp.url) {
            Ok(uri) => drop(tracker.spawn(supervise(link.clone(), uri))),
            Err(error) => link.0.give_up(error),
        }
        link
    }

    /// Opens a channel; waits for the connection if need be, and for a broker that takes messages.
    ///
    /// # Errors
    /// [`BrokerError::Stopped`] when the link ends before that, or the reason why it gave up.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        loop {
            let Live {
                epoch, connection, ..
            } = self.usable().await?;
            match within("open a channel", connection.create_channel()).await {
                Ok(channel) => return Ok(channel),
                Err(error) => {
                    let why = error_chain(&error);
                    tracing::debug!(link = self.0.name, why, "no channel");
                    self.broken_unless_blocked(epoch).await;
                }
            }
        }
    }

    /// Waits until the broker can be written to.
    pub(super) async fn writable(&self) -> Result<(), BrokerError> {
        self.usable().await.map(drop)
    }

    async fn usable(&self) -> Result<Live, BrokerError> {
        let mut live = self.0.live.subscribe();
        let usable = async {
            let usable = |live: &Option<Live>| live.as_ref().is_some_and(|live| !live.is_blocked);
            live.wait_for(usable).await.ok()?.clone()
        };
        tokio::select! {
            biased;
            () = self.0.failed.cancelled() => Err(self.0.failure()),
            () = self.0.stop.cancelled() => Err(BrokerError::Stopped),
            live = usable => live.ok_or(BrokerError::Stopped),
        }
    }

    /// A request on this connection failed. On a blocked one that is no wonder: nothing is written there.
    async fn broken_unless_blocked(&self, epoch: u64) {
        let of_this_epoch = |live: &Live| live.epoch == epoch;
        let mut live = self.0.live.subscribe();
        let is_blocked = live.borrow().as_ref().is_some_and(|live| live.is_blocked);
        if !is_blocked {
            self.broken(epoch);
            let replaced = live.wait_for(|live| !live.as_ref().is_some_and(of_this_epoch));
            let _ = tokio::time::timeout(BROKER_TIMEOUT, replaced).await;
        }
    }

    /// No channel will come from this link any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.failed.is_cancelled() || self.0.stop.is_cancelled()
    }

    /// Changes of state, the current one first.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.0.state.subscribe()
    }

    /// Connected and taking messages.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(*self.0.state.borrow(), LinkState::Up { .. })
    }

    /// A user saw the connection of this epoch fail: drop it and make another. Nothing happens if
    /// that was done already.
    pub fn broken(&self, epoch: u64) {
        self.0.broken.send_if_modified(|seen| {
            let newer = epoch > *seen;
            *seen = epoch.max(*seen);
            newer
        });
    }

    /// Waits until the link gives up for good, which it does only before it was up once: the url,
    /// the login, or an exchange or queue with other arguments. Most never see this return.
    pub async fn failed(&self) -> BrokerError {
        self.0.failed.cancelled().await;
        self.0.failure()
    }
}

impl Inner {
    fn block(&self, is_blocked: bool) {
        self.live.send_modify(|live| {
            if let Some(live) = live {
                live.is_blocked = is_blocked;
            }
        });
    }

    fn down(&self, why: String) {
        self.live.send_replace(None);
        self.state.send_replace(LinkState::Down { why });
    }

    fn failure(&self) -> BrokerError {
        self.failure.get().cloned().unwrap_or(BrokerError::Stopped)
    }

    fn give_up(&self, error: BrokerError) {
        self.down(error_chain(&error));
        let _ = self.failure.set(error);
        self.failed.cancel();
    }
}

/// Connects, watches, and connects again.
async fn supervise(link: Link, uri: AMQPUri) {
    let inner = &link.0;
    let mut backoff = Backoff::new(REBUILD_FIRST, REBUILD_LONGEST);
    let mut epoch = 0;
    loop {
        let attempt = connect(&uri, &inner.name);
        let Some(attempt) = inner.stop.run_until_cancelled(attempt).await else {
            break;
        };
        match attempt {
            Ok((connection, wire)) => {
                epoch += 1;
                let connection = Arc::new(connection);
                let since = Instant::now();
                tracing::info!(link = inner.name, epoch, "connected to the broker");
                let why = watch_over(inner, epoch, &connection).await;
                inner.down(why.clone());
                close(&connection).await;
                drop(wire);
                if inner.stop.is_cancelled() {
                    break;
                }
                tracing::warn!(link = inner.name, epoch, why, "lost the broker");
                if since.elapsed() > REBUILD_LONGEST {
                    backoff.reset();
                }
            }
            Err(error) if error.is_fatal() && epoch == 0 => {
                inner.give_up(error);
                return;
            }
            Err(error) => {
                let why = error_chain(&error);
                tracing::warn!(link = inner.name, why, "no connection to the broker");
                inner.down(why);
            }
        }
        if !backoff.pause(&inner.stop).await {
            break;
        }
    }
    inner.down("stopped".to_owned());
}

/// Publishes the connection and waits until it is no good any more; why.
async fn watch_over(inner: &Inner, epoch: u64, connection: &Arc<Connection>) -> String {
    let mut events = connection.events_listener();
    let mut broken = inner.broken.subscribe();
    inner.live.send_replace(Some(Live {
        epoch,
        is_blocked: false,
        connection: Arc::clone(connection),
    }));
    inner.state.send_replace(LinkState::Up { epoch });
    let mut look = tokio::time::interval(STATUS_LOOK);
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return "stopped".to_owned(),
            _ = broken.wait_for(|seen| *seen >= epoch) => return "found broken".to_owned(),
            _ = look.tick() => {
                if !connection.status().connected() {
                    return "the connection is closed".to_owned();
                }
            }
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(link = inner.name, why, "the broker takes no messages");
                    inner.block(true);
                    inner.state.send_replace(LinkState::Blocked);
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(link = inner.name, "the broker takes messages again");
                    inner.block(false);
                    inner.state.send_replace(LinkState::Up { epoch });
                }
                Some(Event::Error(error)) => return error_chain(&error),
                Some(_) => {}
                None => return "the connection is closed".to_owned(),
            },
        }
    }
}

/// Says goodbye if the other side still listens.
async fn close(connection: &Connection) {
    let goodbye = connection.close(200, "goodbye".into());
    let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
}
