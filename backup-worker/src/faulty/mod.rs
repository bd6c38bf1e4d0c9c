//! For tests: a backup target and volumes that note every call, and fail where they are told to.
//!
//! * [`store`], [`volume`]: decorators of the two seams
//!
//! Calls are counted over all decorators that share one [`Faults`], so that a test can let the n-th call of a whole
//! job fail, for every n.

mod store;
mod volume;

use std::io;
use std::sync::{Arc, Mutex};

pub(crate) use store::FaultyStore;
pub(crate) use volume::FaultyVolumes;

/// What is asked of a target or a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    CheckMarker,
    Prepare,
    WritePart,
    Publish,
    Put,
    Open,
    /// Bytes of an object or segment.
    ReadStored,
    List,
    Remove,
    CreateVolume,
    Freeze,
    RemoveSnapshot,
    OpenTarget,
    ReadVolume,
    WriteVolume,
    SyncVolume,
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// Only calls of this kind are counted; all if none is given.
    pub(crate) verb: Option<Verb>,
    /// The number of the call, from 0.
    pub(crate) nth: u64,
    /// All later ones fail too.
    pub(crate) for_ever: bool,
    /// What the system says: an `errno`.
    pub(crate) errno: i32,
    /// It is said after all was done.
    pub(crate) afterwards: bool,
}

/// Notes calls and says which of them fail. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    fault: Option<Fault>,
    counted: u64,
    struck: u64,
    calls: Vec<(Verb, String)>,
    before: Option<(Verb, Action)>,
}

/// What happens in the middle of another's work.
struct Action(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Action")
    }
}

impl Faults {
    /// One fault from now on.
    pub(crate) fn expect(&self, fault: Fault) {
        let mut noted = self.0.lock().unwrap();
        noted.fault = Some(fault);
        noted.counted = 0;
        noted.struck = 0;
    }

    /// No fault from now on.
    pub(crate) fn relent(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// Something happens right before the next call of this kind.
    pub(crate) fn before(&self, verb: Verb, action: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().before = Some((verb, Action(Box::new(action))));
    }

    /// How many calls failed since the fault was expected.
    pub(crate) fn struck(&self) -> u64 {
        self.0.lock().unwrap().struck
    }

    /// The names that calls of this kind were about since the last look, in order; all calls are forgotten.
    pub(crate) fn take(&self, verb: Verb) -> Vec<String> {
        let calls = std::mem::take(&mut self.0.lock().unwrap().calls);
        let wanted = calls.into_iter().filter(|(called, _)| *called == verb);
        wanted.map(|(_, name)| name).collect()
    }

    /// Does a call, unless it fails.
    fn call<T, E>(
        &self,
        verb: Verb,
        name: &str,
        failed: impl FnOnce(io::Error) -> E,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let action = {
            let mut noted = self.0.lock().unwrap();
            noted.before.take_if(|(awaited, _)| *awaited == verb)
        };
        if let Some((_, Action(action))) = action {
            action();
        }
        let fault = self.strike(verb, name);
        match fault {
            None => call(),
            Some(fault) => {
                if fault.afterwards {
                    call()?;
                }
                Err(failed(io::Error::from_raw_os_error(fault.errno)))
            }
        }
    }

    fn strike(&self, verb: Verb, name: &str) -> Option<Fault> {
        let mut noted = self.0.lock().unwrap();
        noted.calls.push((verb, name.to_owned()));
        let fault = noted.fault?;
        if fault.verb.is_some_and(|wanted| wanted != verb) {
            return None;
        }
        let number = noted.counted;
        noted.counted += 1;
        let strikes = number == fault.nth || (fault.for_ever && number > fault.nth);
        noted.struck += u64::from(strikes);
        strikes.then_some(fault)
    }
}
