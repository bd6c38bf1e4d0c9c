use super::super::limit::{CodecCosts, Costs};
use super::super::machine::cores;
use super::super::memory::{BothWays, Memory};
use super::super::profile::{Class, Profile, Shares};
use super::super::table::{Measured, Row};
use super::super::usage::Usage;
use super::*;

#[test]
fn a_verdict_is_computed() {
    let verdict = |measured, at_most: bool, goal| {
        let target = Target::new("x", Unit::Times, measured, 2.0);
        let target = if at_most { target.at_most() } else { target };
        Target { goal, ..target }.verdict()
    };
    assert_eq!(verdict(None, false, None), "not measured");
    assert_eq!(verdict(Some(2.0), false, None), "reached");
    assert_eq!(verdict(Some(1.99), false, None), "**not reached**");
    assert_eq!(verdict(Some(2.01), true, None), "**not reached**");
    assert_eq!(verdict(Some(1.5), true, None), "reached");
    assert_eq!(
        verdict(Some(3.0), false, Some(2.5)),
        "reached, and the goal"
    );
    assert_eq!(verdict(Some(2.2), false, Some(2.5)), "reached");
}

/// A GB in an ext4 volume of which our full backup takes 2 s, with a limit that it reaches by a quarter.
fn report() -> Report {
    let used = |wall_s| Usage {
        wall_s,
        cpu_s: 1.5 * wall_s,
        rss_bytes: 100 << 20,
    };
    let row = |wall_s| Row {
        used: [(Step::Full, vec![used(wall_s)])].into(),
        ..Row::default()
    };
    let codec = CodecCosts {
        compress: f64::from(cores()) / 2.0 - 0.5,
        decompress: 0.5,
        ratio: 0.0,
    };
    let costs = Costs {
        sha256_path: String::new(),
        md5_path: String::new(),
        zero_blocks: 0.0,
        zero_objects: 0.0,
        read: 0.5,
        zero: 0.0,
        sha256: 0.0,
        md5_lanes: 0.0,
        md5_stream: 0.0,
        write: 0.0,
        algorithms: [("lz4".to_owned(), codec)].into(),
    };
    let shares = |class| Shares {
        of: [(class, 0.9)].into(),
        top: Vec::new(),
    };
    let profile = Profile {
        of: [
            (
                Subject::Row(Peer::EmberLz4, Step::Full),
                shares(Class::Compressor),
            ),
            (Subject::Tracked, shares(Class::FileSystem)),
        ]
        .into(),
        untracked: None,
    };
    let both_ways = |size_gib, mib: u64| BothWays {
        size_gib,
        full: used(1.0),
        restore: Usage {
            rss_bytes: mib << 20,
            ..used(1.0)
        },
    };
    Report {
        images: vec![Measured {
            image: Image::Ext4,
            size_bytes: 1_000_000_000,
            rows: [(Peer::EmberLz4, row(2.0)), (Peer::Restic, row(8.0))].into(),
            costs: Some(costs),
        }],
        memory: Some(Memory {
            unlimited: None,
            rows: vec![both_ways(64, 100), both_ways(1024, 177)],
        }),
        profile: Some(Ok(profile)),
        ..Report::default()
    }
}

fn told(report: &Report, what: &str) -> String {
    let all = targets(report);
    let target = all.iter().find(|target| target.what.contains(what));
    bounds(report, target.unwrap())
}

#[test]
fn a_full_backup_beside_another_program_is_told_at_the_limit_too() {
    let told = told(&report(), "Emberkeep lz4 against restic");
    let expected = format!(
        "1.50 of {} core(s) were busy in Emberkeep lz4's full backup; it ran at 0.25 of what the costs of its parts allow; \
         the profile of lz4, full backup: compressor 90 %; \
         at the limit itself, which this processor does not go beyond with this compressor, it would be 16 ×",
        cores()
    );
    assert_eq!(told, expected);
}

#[test]
fn a_share_of_the_limit_is_not_told_at_the_limit() {
    let told = told(&report(), "share of the limit, full backup: Emberkeep lz4");
    assert!(told.contains("core(s) were busy"), "{told}");
    assert!(!told.contains("at the limit itself"), "{told}");
}

#[test]
fn the_service_is_told_by_the_profile_of_the_worker_alone() {
    let target = Target::new("x", Unit::Times, Some(4.0), 25.0).about(About::Service(10.0));
    assert_eq!(
        bounds(&report(), &target),
        "its worker runs what Emberkeep lz4 runs alone: the profile of lz4, full backup: compressor 90 %; \
         at the limit itself, which this processor does not go beyond with this compressor, it would be 20 ×"
    );
}

#[test]
fn each_is_told_by_its_own_profile_and_a_ratio_by_its_figures() {
    let mut report = report();
    assert_eq!(
        told(&report, "with change tracking"),
        "the profile of lz4, 1 % changed, tracked: kernel: file system, page cache, disk 90 %"
    );
    assert_eq!(
        told(&report, "peak RSS, restore: the larger"),
        "it is 100 MiB with 64 GiB and 177 MiB with 1024 GiB"
    );
    report.profile = None;
    assert_eq!(
        told(&report, "with change tracking"),
        "no profile was taken of lz4, 1 % changed, tracked"
    );
}
