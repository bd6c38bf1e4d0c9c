//! The rows: one file for each kind of fault. Each gives its cases for a short and for a full run.

mod broker;
mod io;
mod kill;
mod messages;
mod owner;
pub(crate) mod promises;
mod random;
mod rolling;
mod stopped;
mod timeout;

use async_trait::async_trait;
use rand::rngs::SmallRng;

use crate::Arguments;
use crate::scene::Scene;

/// What stack a case runs on. Those of the first kind run side by side on one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// An api-service, a worker, two more that are not started.
    Shared,
    /// The same with a broker of its own, reached over proxies.
    OwnBroker,
    /// A broker that soon loses patience with a consumer that does not acknowledge.
    HastyBroker,
    /// Messages are published once and never again.
    NoRepublishing,
}

/// One way to strike.
#[async_trait(?Send)]
pub(crate) trait Strike: Send {
    /// What it does, in a few words.
    fn what(&self) -> String;

    /// Does it, and panics with a sentence if the system does not live up to it.
    async fn run(&self, scene: &mut Scene, random: &mut SmallRng);
}

/// A strike with its place in the suite.
pub(crate) struct Case {
    pub(crate) row: &'static str,
    /// Counted from 1 within the row.
    pub(crate) number: usize,
    pub(crate) needs: Needs,
    pub(crate) strike: Box<dyn Strike>,
}

/// So many of the same.
fn times<S: Strike + Clone + 'static>(count: usize, strike: S) -> Vec<Box<dyn Strike>> {
    let copies = std::iter::repeat_n(strike, count);
    copies
        .map(|strike| Box::new(strike) as Box<dyn Strike>)
        .collect()
}

/// The cases that were asked for.
pub(crate) fn cases(arguments: &Arguments) -> Vec<Case> {
    let full = arguments.full;
    let mut cases = Vec::new();
    let mut add = |row, strikes: Vec<(Needs, Box<dyn Strike>)>| {
        for (index, (needs, strike)) in strikes.into_iter().enumerate() {
            cases.push(Case {
                row,
                number: index + 1,
                needs,
                strike,
            });
        }
    };
    let on = |needs: Needs, strikes: Vec<Box<dyn Strike>>| {
        let strikes = strikes.into_iter();
        strikes.map(|strike| (needs, strike)).collect::<Vec<_>>()
    };
    add("broker", on(Needs::OwnBroker, broker::strikes(full)));
    add("timeout", on(Needs::HastyBroker, timeout::strikes(full)));
    add("rolling", on(Needs::Shared, rolling::strikes(full)));
    add("promises", promises::strikes());
    add("stopped", on(Needs::Shared, stopped::strikes(full)));
    add("kill", on(Needs::Shared, kill::strikes(full)));
    add("random", on(Needs::Shared, random::strikes(full)));
    add("owner", on(Needs::Shared, owner::strikes(full)));
    add("messages", on(Needs::Shared, messages::strikes(full)));
    add("io", on(Needs::Shared, io::strikes(full)));
    if let Some(row) = &arguments.row {
        cases.retain(|case| case.row == row);
    }
    if let Some(number) = arguments.case {
        cases.retain(|case| case.number == number);
    }
    let (part, of) = arguments.part;
    let mut index = 0;
    cases.retain(|_| {
        index += 1;
        index % of == part % of
    });
    cases
}
