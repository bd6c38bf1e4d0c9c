//! Which place a job's threads have on their host.

use std::sync::mpsc;

use common::messages::rpc::Outcome;
use common::messages::sheet::Sheet;

use super::world::World;
use crate::faulty::Verb;
use crate::priority::tests::{place_here, usual_place};

/// The name and the place of the thread that makes the next call of this kind, in a backup.
fn who_calls(verb: Verb) -> (String, (i32, i32)) {
    let world = World::new();
    std::fs::write(world.volumes().join("vol"), [7; 40_000]).unwrap();
    let (tell, told) = mpsc::channel();
    world.faults.before(verb, move || {
        let name = std::thread::current().name().unwrap_or("").to_owned();
        tell.send((name, place_here())).unwrap();
    });
    let rows = world.settle(Sheet::Backup(Box::new(world.backup(None))));
    assert!(matches!(rows.settled, Some(Outcome::BackedUp { .. })));
    told.recv().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_threads_of_a_job_stand_behind_the_rest_of_the_host() {
    let engine = ("engine-0".to_owned(), usual_place());
    assert_eq!(who_calls(Verb::ReadVolume), engine);
    assert_eq!(who_calls(Verb::WritePart), engine);
    let (_, job) = who_calls(Verb::Publish);
    assert_eq!(job, usual_place());
}
