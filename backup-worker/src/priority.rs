//! The place of jobs behind everything else on their host: how nice their threads are, and when the disks are theirs.
//!
//! Linux keeps both for each thread, and a thread hands them on to those that it starts. So a job's own thread takes its
//! place before anything else, and what the job starts has it too: the engine's threads, those that make objects durable,
//! those that read digests ahead. The runtime, where leases are renewed and signs of life are given, keeps the place of the
//! process.
//!
//! **Invariants.** Nobody is moved forward: who has been put further back stays there. A host that refuses costs the place
//! and not the job. The one `unsafe` call is here because neither std nor rustix has it: numbers go in and a number comes out.

use std::ffi::{c_int, c_long};
use std::io;
use std::sync::Once;

use common::config::{IoPriority, Worker};

/// A place for threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Priority {
    nice: u8,
    io: IoPriority,
}

impl Priority {
    /// What a worker's configuration asks for its jobs.
    pub(crate) fn of(worker: &Worker) -> Self {
        Self {
            nice: worker.nice,
            io: worker.io_priority,
        }
    }

    /// Puts the calling thread there, and all that it starts from now on.
    pub(crate) fn take_place(self) {
        static NICE_REFUSED: Once = Once::new();
        static IO_REFUSED: Once = Once::new();
        if let Err(error) = be_nice(self.nice) {
            let tell = || tracing::warn!(%error, "jobs keep the niceness of the process");
            NICE_REFUSED.call_once(tell);
        }
        if let Err(error) = stand_back(self.io) {
            let tell = || tracing::warn!(%error, "jobs keep the I/O priority of the process");
            IO_REFUSED.call_once(tell);
        }
    }
}

fn be_nice(nice: u8) -> io::Result<()> {
    // To Linux, "this process" is the calling thread here.
    if rustix::process::getpriority_process(None)? < nice.into() {
        rustix::process::setpriority_process(None, nice.into())?;
    }
    Ok(())
}

/// Above the level in the number of a place: 0 is none given, 1 real time, 2 in turn with others, 3 idle.
const CLASS_SHIFT: c_int = 13;
const IN_TURN: c_int = 2 << CLASS_SHIFT;
const LAST_LEVEL: c_int = 7;
const IDLE: c_int = 3 << CLASS_SHIFT;

fn stand_back(place: IoPriority) -> io::Result<()> {
    let wanted = match place {
        IoPriority::Unchanged => return Ok(()),
        IoPriority::Low => IN_TURN | LAST_LEVEL,
        IoPriority::Idle => IDLE,
    };
    // By their numbers, who is further back has the larger.
    if io_place(libc::SYS_ioprio_get, 0)? < wanted {
        io_place(libc::SYS_ioprio_set, wanted)?;
    }
    Ok(())
}

/// Asks for the calling thread's place, or sets it. What is asked takes no third number and does not look at it.
fn io_place(call: c_long, place: c_int) -> io::Result<c_int> {
    const OF_THREAD: c_long = 1;
    const THIS_ONE: c_long = 0;
    #[expect(unsafe_code, reason = "neither std nor rustix has these two calls")]
    // SAFETY: all arguments are numbers, and neither call touches any memory of ours.
    let answer = unsafe { libc::syscall(call, OF_THREAD, THIS_ONE, c_long::from(place)) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(c_int::try_from(answer).unwrap_or(c_int::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Where the calling thread is: its niceness, and the number of its place at the disks.
    pub(crate) fn place_here() -> (i32, c_int) {
        let nice = rustix::process::getpriority_process(None).unwrap();
        (nice, io_place(libc::SYS_ioprio_get, 0).unwrap())
    }

    /// Where a thread of this process is that asked for a default worker's place.
    pub(crate) fn usual_place() -> (i32, c_int) {
        let (nice, io) = place_here();
        (nice.max(10), io.max(IN_TURN | LAST_LEVEL))
    }

    /// Where a thread is that asked for these places, one after the other.
    fn after(places: &[(u8, IoPriority)]) -> (i32, c_int) {
        let ask = || {
            for (nice, io) in places {
                Priority {
                    nice: *nice,
                    io: *io,
                }
                .take_place();
            }
            place_here()
        };
        std::thread::scope(|scope| scope.spawn(ask).join()).unwrap()
    }

    #[test]
    fn nobody_is_moved_forward() {
        let start = place_here();
        assert_eq!(after(&[(0, IoPriority::Unchanged)]), start);
        let back = (19, IDLE);
        assert_eq!(after(&[(19, IoPriority::Idle)]), back);
        assert_eq!(after(&[(19, IoPriority::Idle), (3, IoPriority::Low)]), back);
        assert_eq!(place_here(), start, "other threads stay where they are");
    }
}
