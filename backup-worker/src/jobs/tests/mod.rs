//! Jobs from their grant to their end, on real files: what happens to them when calls fail, and who goes on.

mod faults;
mod kept;
mod owner;
mod places;
mod sleepers;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::broker::{Link, Publisher, RpcClient};
use common::config::{Amqp, Worker};
use common::domain::{Incarnation, SystemClock, Token, WorkerName};
use tokio_util::task::TaskTracker;

use super::pause_after;
use crate::engine::{EngineLimits, Throttles};
use crate::environment::{Environment, Stopping};
use crate::lease::BootClock;
use crate::priority::Priority;
use crate::running::Running;
use crate::store::BackupStore;
use crate::target::TargetState;
use crate::volume::VolumeDriver;

/// A worker whose broker is not there, and which does not wait for it.
pub(super) fn environment(
    driver: Arc<dyn VolumeDriver>,
    store: Arc<dyn BackupStore>,
    seal_size_bytes: u64,
) -> Environment {
    let tracker = TaskTracker::new();
    let stopping = Stopping::new();
    let amqp = Amqp {
        url: "amqp://127.0.0.1:1/%2f".to_owned(),
        ..Amqp::default()
    };
    let link = Link::start(&amqp, "test".to_owned(), &tracker, stopping.end.clone());
    Environment {
        worker: WorkerName::from("w"),
        incarnation: Incarnation::new(),
        zone: backend(),
        slots: 1,
        volumes: BTreeMap::from([(backend(), driver)]),
        target: backend(),
        store,
        target_state: TargetState::default(),
        limits: EngineLimits {
            threads: 1,
            restore_threads: 1,
            seal_size_bytes,
            seal_after: Duration::from_secs(3600),
            buffer_bytes: 4 * 4096,
            codec_bytes: 0,
        },
        throttles: Throttles::default(),
        priority: Priority::of(&Worker::default()),
        stop_margin: Duration::ZERO,
        claim_patience: Duration::ZERO,
        heartbeat: Duration::ZERO,
        rpc: RpcClient::new(link.clone(), tracker.clone()),
        publisher: Arc::new(Publisher::new(link)),
        clock: Arc::new(SystemClock),
        boot_clock: BootClock::new(|| Duration::ZERO),
        running: Running::new(1),
        stopping,
        tracker,
    }
}

/// The backend of every volume here.
pub(super) fn backend() -> Token {
    Token::new("fast").unwrap()
}

#[test]
fn the_pause_doubles_up_to_five_minutes() {
    for (generation, least, most) in [(1, 1, 2), (3, 4, 8), (40, 150, 300), (u64::MAX, 150, 300)] {
        let pause = pause_after(generation);
        assert!(pause >= Duration::from_secs(least) && pause <= Duration::from_secs(most));
    }
}
