//! What the metrics say of the rows.

use common::domain::{JobKind, JobState};
use jiff::SignedDuration;

use crate::testing::World;

#[tokio::test]
async fn a_queued_job_ages_and_a_running_one_does_not() {
    let world = World::new().await;
    let (_, job) = world.creating(world.volume().await.id).await;
    world.turn(SignedDuration::from_secs(90));
    let figures = world.store.unsettled_figures().await.unwrap();
    assert_eq!(figures.len(), 1);
    assert_eq!(
        (figures[0].kind, figures[0].state, figures[0].count),
        (JobKind::Backup, JobState::Queued, 1)
    );
    assert!((90.0..91.0).contains(&figures[0].waiting_seconds));

    world.grant(job.id).await;
    let figures = world.store.unsettled_figures().await.unwrap();
    assert_eq!(figures[0].state, JobState::Running);
    assert!(figures[0].waiting_seconds.abs() < f64::EPSILON);
}
