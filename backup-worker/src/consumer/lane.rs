//! The consumers of one lane: a set of queues that share slots.
//!
//! A message that is given back counts as delivered once more, and a queue gives up on one that comes
//! back too often. So a lane does not ask for more messages than it has slots for: with few slots it
//! consumes only queues that hold something, as many as there are slots, in turn. Only while all are
//! empty does it listen to all of them; a burst can then be given back once.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use common::broker::{BrokerError, Deliveries, Incoming, consume, queue_depth, topology};
use common::domain::QueueKey;
use futures_util::stream::SelectAll;
use futures_util::{Stream, StreamExt};
use lapin::Channel;

/// One message at a time from each queue.
const PREFETCH: u16 = 1;
/// A queue that was chosen because it held something is not listened to longer than this: another
/// worker may have been faster.
const CHOICE_LASTS: Duration = Duration::from_secs(1);
/// How long what the broker had already sent may take to come out of a stopped stream.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// What a lane waits for.
pub(super) enum Next {
    Message(Box<Incoming>),
    /// The choice of queues is old.
    LookAgain,
    /// A stream ended that nobody stopped.
    Broken,
}

/// The queues of a lane, and the consumers on some of them.
pub(super) struct LaneConsumers {
    queues: Vec<QueueKey>,
    /// Where the next choice begins, so that every queue gets its turn.
    turn: usize,
    consuming: Option<Consuming>,
}

struct Consuming {
    streams: SelectAll<TellsItsEnd>,
    count: usize,
    all: bool,
    /// A message came: a choice that was made for the slots of then is used up.
    used: bool,
    since: tokio::time::Instant,
}

impl LaneConsumers {
    pub(super) fn new(queues: Vec<QueueKey>) -> Self {
        Self {
            queues,
            turn: 0,
            consuming: None,
        }
    }

    /// Consumes as `free` slots allow.
    pub(super) async fn fit(&mut self, channel: &Channel, free: usize) -> Result<(), BrokerError> {
        let fits = self.consuming.as_ref().is_some_and(|consuming| {
            free > 0 && (consuming.all || (consuming.count <= free && !consuming.is_stale()))
        });
        if fits {
            return Ok(());
        }
        self.stop().await?;
        if free > 0 && !self.queues.is_empty() {
            self.start(channel, free).await?;
        }
        Ok(())
    }

    async fn start(&mut self, channel: &Channel, free: usize) -> Result<(), BrokerError> {
        let chosen = self.choose(channel, free).await?;
        let all = chosen.len() == self.queues.len();
        let mut streams = SelectAll::new();
        let count = chosen.len();
        for queue in chosen {
            let name = topology::job_queue(&self.queues[queue]);
            let deliveries = consume(channel, &name, PREFETCH).await?;
            streams.push(TellsItsEnd {
                deliveries,
                ended: false,
            });
            self.turn = queue + 1;
        }
        self.consuming = Some(Consuming {
            streams,
            count,
            all,
            used: false,
            since: tokio::time::Instant::now(),
        });
        Ok(())
    }

    /// Which queues to consume, by their place in the list.
    async fn choose(&self, channel: &Channel, free: usize) -> Result<Vec<usize>, BrokerError> {
        let count = self.queues.len();
        if free >= count {
            return Ok((0..count).collect());
        }
        let mut filled = Vec::new();
        for place in (self.turn..self.turn + count).map(|place| place % count) {
            let name = topology::job_queue(&self.queues[place]);
            if queue_depth(channel, &name).await? > 0 {
                filled.push(place);
                if filled.len() == free {
                    break;
                }
            }
        }
        if filled.is_empty() {
            filled = (0..count).collect();
        }
        Ok(filled)
    }

    /// Stops consuming; what the broker had sent by then goes back.
    pub(super) async fn stop(&mut self) -> Result<(), BrokerError> {
        let Some(mut consuming) = self.consuming.take() else {
            return Ok(());
        };
        for stream in consuming.streams.iter() {
            stream.deliveries.cancel().await?;
        }
        let leftovers = async {
            while let Some(message) = consuming.streams.next().await {
                if let Some(message) = message {
                    message.requeue().await;
                }
            }
        };
        // Whatever is slower than this goes back with the channel.
        let _ = tokio::time::timeout(LEFTOVERS, leftovers).await;
        Ok(())
    }

    /// The next message of any of the queues; waits for ever while nothing is consumed.
    pub(super) async fn next(&mut self) -> Next {
        let Some(consuming) = &mut self.consuming else {
            return std::future::pending().await;
        };
        let stale_at = consuming.since + CHOICE_LASTS;
        let waits = consuming.all;
        tokio::select! {
            biased;
            message = next_of(consuming) => message,
            () = tokio::time::sleep_until(stale_at), if !waits => Next::LookAgain,
        }
    }
}

impl Consuming {
    fn is_stale(&self) -> bool {
        self.used || self.since.elapsed() >= CHOICE_LASTS
    }
}

async fn next_of(consuming: &mut Consuming) -> Next {
    let message = consuming.streams.next().await;
    consuming.used = true;
    message
        .flatten()
        .map_or(Next::Broken, |message| Next::Message(Box::new(message)))
}

/// A stream of messages whose end is an item too. A union of streams forgets one that ends, and with
/// it a queue.
struct TellsItsEnd {
    deliveries: Deliveries,
    ended: bool,
}

impl Stream for TellsItsEnd {
    type Item = Option<Incoming>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = Pin::new(&mut self.deliveries).poll_next(context);
        next.map(|message| {
            self.ended = message.is_none();
            Some(message)
        })
    }
}
