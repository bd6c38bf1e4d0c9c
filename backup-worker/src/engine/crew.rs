//! The crew: plain threads that run each unit of work to its end, one bounded channel, and one
//! collector, which is the calling thread.
//!
//! Whoever fails halts the line; the others finish the unit they have and leave. A panic goes on
//! in the calling thread after all have left, so that nobody waits for a unit that never comes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use common::step;
use tracing::Span;

use super::EngineError;
use super::line::{Line, Units};

/// Runs `work` on `threads` threads and `collect` here, until both are done.
///
/// `work` gets the sending end; when sending fails the collector is gone and the thread leaves with `Ok`.
pub(super) fn run<U, T, R>(
    threads: usize,
    line: &Line<U>,
    work: impl Fn(&SyncSender<T>) -> Result<(), EngineError> + Sync,
    collect: impl FnOnce(&Receiver<T>) -> Result<R, EngineError>,
) -> Result<R, EngineError>
where
    U: Units,
    T: Send,
{
    let threads = threads.max(1);
    let at_work = Span::current();
    std::thread::scope(|scope| {
        // As long as the line lets them run ahead: nobody waits while the collector makes a batch durable. In here, so
        // that leaving early frees who waits to send.
        let (sender, receiver) = sync_channel(line.ahead_max());
        let halt_if_we_unwind = HaltOnDrop(Some(line));
        let work = &work;
        let mut crew = Vec::with_capacity(threads);
        for index in 0..threads {
            let sender = sender.clone();
            let span = step!(parent: &at_work, "engine", thread = index);
            let thread =
                Builder::new()
                    .name(format!("engine-{index}"))
                    .spawn_scoped(scope, move || {
                        let _span = span.entered();
                        let mut halt = HaltOnDrop(Some(line));
                        work(&sender).inspect(|()| halt.0 = None)
                    });
            match thread {
                Ok(thread) => crew.push(thread),
                Err(source) => return Err(EngineError::Thread { source }), // the guard halts the others
            }
        }
        drop(sender);
        let collected = collect(&receiver);
        if collected.is_ok() {
            halt_if_we_unwind.disarm();
        } else {
            line.halt();
        }
        drop(receiver); // who waits to send to a collector that failed gets an error instead
        let mut outcome = Ok(());
        for thread in crew {
            match thread.join() {
                Ok(left) => outcome = outcome.and(left),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome.and(collected)
    })
}

/// Halts the line when dropped, unless disarmed before.
struct HaltOnDrop<'a, U: Units>(Option<&'a Line<U>>);

impl<U: Units> HaltOnDrop<'_, U> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<U: Units> Drop for HaltOnDrop<'_, U> {
    fn drop(&mut self) {
        if let Some(line) = self.0 {
            line.halt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Endless;

    impl Units for Endless {
        type Unit = ();

        fn next(&mut self, _unit: &mut ()) -> Result<bool, EngineError> {
            Ok(true)
        }
    }

    #[test]
    fn a_panic_of_one_thread_ends_the_crew() {
        let line = Line::new(Endless, 4);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(
                3,
                &line,
                |sender| {
                    while let Some(number) = line.take(&mut (), || false)? {
                        assert!(number < 2, "a thread breaks");
                        if sender.send(number).is_err() {
                            break;
                        }
                    }
                    Ok(())
                },
                |receiver| Ok(receiver.iter().count()),
            )
        }));
        assert!(outcome.is_err());
    }

    #[test]
    fn a_collector_that_fails_ends_the_crew() {
        let line = Line::new(Endless, 4);
        let outcome: Result<(), _> = run(
            2,
            &line,
            |sender| {
                while let Some(number) = line.take(&mut (), || false)? {
                    if sender.send(number).is_err() {
                        break;
                    }
                }
                Ok(())
            },
            |_receiver| Err(EngineError::Stopped(crate::engine::Stop::Fenced)),
        );
        assert!(matches!(
            outcome,
            Err(EngineError::Stopped(crate::engine::Stop::Fenced))
        ));
    }
}
