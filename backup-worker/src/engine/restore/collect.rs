//! The collector of a restore: finds the contiguous part that is done, makes it durable, and
//! tells the job.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use common::domain::ByteCount;
use common::messages::sheet::WorkTotals;

use super::run::{Report, Sink};
use super::windows::Windows;
use crate::engine::line::Line;
use crate::engine::{Damage, EngineError, EngineLimits, Monitor, Progress};

/// What the collector needs to know.
#[derive(Debug)]
pub(super) struct Collecting<'a> {
    pub(super) sink: Sink<'a>,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) limits: &'a EngineLimits,
    pub(super) start: u64,
    pub(super) end: u64,
    /// What was found so far. Behind a bad extent nothing may ever be told as done: a later execution would go
    /// on from there and end well.
    pub(super) damage: &'a Mutex<Damage>,
}

impl Collecting<'_> {
    /// Collects until the channel ends, and makes the last bytes durable.
    pub(super) fn run(
        &self,
        receiver: &Receiver<Report>,
        line: &Line<Windows<'_>>,
    ) -> Result<WorkTotals, EngineError> {
        let mut positions: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        let mut next = 0;
        let (mut mark, mut sealed) = (self.start, self.start);
        let mut progress = Progress {
            done_bytes: self.start,
            totals: WorkTotals {
                volume: ByteCount(self.end),
                ..WorkTotals::default()
            },
        };
        self.monitor.advanced(progress); // what earlier executions did is done
        let mut seal_by = Instant::now() + self.limits.seal_after;
        loop {
            match receiver.recv_timeout(seal_by.saturating_duration_since(Instant::now())) {
                Ok(report) => {
                    progress.done_bytes += report.done;
                    progress.totals.read.0 += report.read;
                    progress.totals.written.0 += report.written;
                    progress.totals.skipped.0 += report.done.saturating_sub(report.written);
                    self.monitor.advanced(progress);
                    positions.insert(report.window, (report.position, report.finished));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some((position, finished)) = positions.get(&next).copied() {
                mark = position;
                if !finished {
                    break;
                }
                positions.remove(&next);
                next += 1;
            }
            line.collected(next);
            if mark - sealed >= self.limits.seal_size_bytes || seal_by <= Instant::now() {
                self.seal(mark, &mut sealed)?;
                seal_by = Instant::now() + self.limits.seal_after;
            }
        }
        if let Sink::Volume { target, .. } = self.sink
            && mark == self.end
            && sealed == mark
        {
            target.sync()?; // nothing is left to seal, and still nothing may be left to make durable
        }
        self.seal(mark, &mut sealed)?;
        Ok(progress.totals)
    }

    fn is_damaged(&self) -> bool {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.total > 0
    }

    /// Makes everything before `mark` durable and tells the job.
    fn seal(&self, mark: u64, sealed: &mut u64) -> Result<(), EngineError> {
        let Sink::Volume { target, .. } = self.sink else {
            return Ok(());
        };
        if mark == *sealed || self.is_damaged() {
            return Ok(());
        }
        common::durable!("restore.seal", target.sync())?;
        self.monitor.sealed(mark);
        *sealed = mark;
        Ok(())
    }
}
