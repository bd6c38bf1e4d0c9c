//! Who runs the engine here: a person at a terminal, who sees a bar and may press Ctrl-C.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::shutdown::StopSignals;
use indicatif::{ProgressBar, ProgressStyle};

use super::failure::{COULD_NOT, Failure};
use crate::engine::{Monitor, Progress, Stop};

/// Shows progress and hears the wish to stop.
#[derive(Debug, Default)]
pub struct Watch {
    stopped: AtomicBool,
    bar: Option<ProgressBar>,
    /// Bytes read since the last [`Watch::begin`].
    read: AtomicU64,
}

impl Watch {
    /// One that shows nothing and goes on to the end.
    #[must_use]
    pub fn silent() -> Arc<Self> {
        Arc::default()
    }

    /// One for a process: a bar when standard error is a terminal and `quiet` is not asked, and SIGINT and SIGTERM
    /// stop the work; the second one the process.
    pub(super) fn of_process(quiet: bool) -> Result<Arc<Self>, Failure> {
        let watch = Arc::new(Self {
            bar: (!quiet && io::stderr().is_terminal()).then(bar),
            ..Self::default()
        });
        let heard = Arc::clone(&watch);
        listen(move || heard.stopped.store(true, Ordering::Relaxed))
            .map_err(|error| Failure::to("listen to signals", &error))?;
        Ok(watch)
    }

    /// Says what is being done now.
    pub(super) fn begin(&self, doing: String) {
        self.read.store(0, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(0);
            bar.set_message(doing);
        }
    }

    /// Bytes read since the last [`Watch::begin`], whatever came of it.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Fails once the work is to stop.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.keep_going()
            .map_err(|_| Failure::CouldNot("interrupted".to_owned()))
    }
}

impl Monitor for Watch {
    fn keep_going(&self) -> Result<(), Stop> {
        if self.stopped.load(Ordering::Relaxed) {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }

    fn may_write(&self) -> Result<(), Stop> {
        self.keep_going()
    }

    fn advanced(&self, progress: Progress) {
        self.read.store(progress.totals.read.0, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(progress.totals.volume.0);
            bar.set_position(progress.done_bytes);
        }
    }

    fn sealed(&self, _mark: u64) {}
}

fn bar() -> ProgressBar {
    let style = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(style).expect("the template is well formed");
    ProgressBar::new(0).with_style(style)
}

/// Calls `stop` at the first signal, from a thread that lives as long as the process.
fn listen(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let mut signals = {
        let _inside = runtime.enter();
        StopSignals::install()?
    };
    let wait = move || {
        runtime.block_on(async {
            signals.next().await;
            stop();
            signals.next().await;
        });
        std::process::exit(COULD_NOT.into());
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}
