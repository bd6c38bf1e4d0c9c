//! Every failpoint of the programs, and which work comes by it. `tests/tidy` compares this list with
//! the sources: a new point without a line here fails.

/// What is asked of the system while it is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A full backup.
    Backup,
    /// An incremental one.
    Incremental,
    /// A restore into a new volume.
    Restore,
    /// A delete.
    Delete,
    /// A backup that its owner cancels in its middle.
    Cancel,
    /// A backup whose volume changed since its worker died: it begins again.
    Restart,
    /// A backup that meets an error that passes.
    Release,
}

/// Which process has a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The api-service.
    Api,
    /// A worker.
    Worker,
}

/// A durable point: `NAME.before` and `NAME.after` in the sources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    /// What comes by it.
    pub(crate) deeds: &'static [Deed],
}

use Deed::{Backup, Cancel, Delete, Incremental, Release, Restart, Restore};

const ALL: &[Deed] = &[Backup, Incremental, Restore, Delete];
const CREATE: &[Deed] = &[Backup, Incremental];

const fn api(name: &'static str, deeds: &'static [Deed]) -> Point {
    let side = Side::Api;
    Point { name, side, deeds }
}

const fn worker(name: &'static str, deeds: &'static [Deed]) -> Point {
    let side = Side::Worker;
    Point { name, side, deeds }
}

/// The durable points, in the order of the protocol.
pub(crate) const POINTS: &[Point] = &[
    api("api.create", CREATE),
    api("api.restore", &[Restore]),
    api("api.delete", &[Delete]),
    api("api.cancel", &[Cancel]),
    api("api.publish", ALL),
    api("api.sent", ALL),
    api("api.claim", ALL),
    api("api.renew", CREATE),
    api("api.frozen", CREATE),
    api("api.restart", &[Restart]),
    api("api.commit", CREATE),
    api("api.fail", &[Cancel]),
    api("api.release", &[Release]),
    api("api.finish", ALL),
    worker("worker.claim", ALL),
    worker("worker.ack", ALL),
    worker("backup.snapshot", CREATE),
    worker("worker.frozen", CREATE),
    worker("worker.restart", &[Restart]),
    worker("backup.parts", CREATE),
    worker("backup.segment", CREATE),
    worker("worker.commit", CREATE),
    worker("backup.sha256file", CREATE),
    worker("backup.metadata", CREATE),
    worker("worker.fail", &[Cancel]),
    worker("worker.release", &[Release]),
    worker("restore.lock", &[Restore]),
    worker("restore.seal", &[Restore]),
    worker("restore.sync", &[Restore]),
    worker("erase.metadata", &[Delete, Cancel]),
    worker("erase.sha256file", &[Delete]),
    worker("erase.objects", &[Delete, Cancel]),
    worker("erase.snapshot", &[Backup, Incremental, Cancel]),
    worker("erase.scratch", &[Backup, Incremental, Delete]),
    worker("worker.finish", ALL),
];
