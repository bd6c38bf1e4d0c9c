//! Exit codes, refusals, and the end of an interrupted backup.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Ended, Scene, VOLUME_ID, run, text, volume_like};

const BLOCK: usize = 32 << 10;
const NO_ID: &str = "2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1";

#[test]
fn the_help_tells_the_exit_codes() {
    for arguments in [
        &["--help"][..],
        &["restore", "--help"],
        &["verify", "--help"],
    ] {
        let (out, _) = Ended::from(run(arguments.iter().copied())).code(0);
        assert!(out.contains("3  damaged"), "{out}");
    }
}

#[test]
fn what_cannot_be_done_ends_with_1_and_says_why() {
    let scene = Scene::new();
    let bytes = volume_like(1, 2 * BLOCK);
    let id = scene.backup(&bytes, &["--backup", NO_ID]);
    assert_eq!(id, NO_ID);
    let (volume, output) = (scene.path("volume"), scene.path("restored"));
    let small = scene.file("small", &[1; BLOCK]);
    let refused = |command: &str, arguments: &[&str], why: &str| {
        let (_, err) = scene.run(command, arguments).code(1);
        assert!(err.starts_with("error: ") && err.contains(why), "{err}");
    };
    let other = "00000000-cc5c-4d12-8a5c-6bb29d30f9a1";
    refused(
        "restore",
        &["--backup", other, "--output", text(&output)],
        "there is no backup 0000",
    );
    refused("verify", &["--backup", other], "there is no backup");
    refused(
        "restore",
        &["--backup", &id, "--output", text(&small)],
        "`--force`",
    );
    refused(
        "restore",
        &["--backup", &id, "--output", text(&small), "--force"],
        "has 32768 bytes, and the backup's data needs 65536",
    );
    refused(
        "restore",
        &["--backup", &id, "--output", "/dev/null", "--force"],
        "no block device",
    );
    refused(
        "restore",
        &["--backup", &id, "--output", "/nowhere/x"],
        "No such file",
    );
    let volume_id = ["--volume-id", VOLUME_ID];
    let again = [
        &["--volume", text(&volume), "--backup", &id],
        &volume_id[..],
    ]
    .concat();
    refused("backup", &again, "exists already");
    let nothing = [&["--volume", "/nowhere"], &volume_id[..]].concat();
    refused("backup", &nothing, "No such file");
    assert_eq!(
        std::fs::read(&small).unwrap(),
        [1; BLOCK],
        "a refusal writes nothing"
    );
    assert!(!output.exists());
}

#[test]
fn an_output_that_another_holds_is_refused() {
    let scene = Scene::new();
    let id = scene.backup(&volume_like(1, BLOCK), &[]);
    let output = scene.file("restored", &[0xff; BLOCK]);
    let held = std::fs::File::open(&output).unwrap();
    held.lock().unwrap();
    let arguments = ["--backup", &id, "--output", text(&output), "--force"];
    let (_, err) = scene.run("restore", &arguments).code(1);
    assert!(err.contains("locked by another writer"), "{err}");
}

#[test]
fn a_tree_that_was_not_prepared_is_read_and_not_written() {
    let scene = Scene::new();
    let id = scene.backup(&volume_like(1, BLOCK), &[]);
    std::fs::remove_file(scene.tree().join(".emberkeep-target")).unwrap();
    scene.assert_restores(&id, &volume_like(1, BLOCK));
    let volume = scene.path("volume");
    let arguments = ["--volume", text(&volume), "--volume-id", VOLUME_ID];
    let (_, err) = scene.run("backup", &arguments).code(1);
    assert!(err.contains("init-target"), "{err}");
    scene
        .run("backup", &[&arguments[..], &["--init"]].concat())
        .code(0);
}

#[test]
fn wrong_usage_ends_with_2() {
    let scene = Scene::new();
    let id = scene.backup(&volume_like(1, BLOCK), &[]);
    let volume = scene.path("volume");
    let backup = ["--volume", text(&volume), "--volume-id", VOLUME_ID];
    let wrong = |command: &str, arguments: &[&str]| scene.run(command, arguments).code(2).1;
    wrong("restore", &["--backup", &id]);
    wrong("restore", &["--backup", "7", "--output", "x"]);
    wrong("verify", &["--sample", "0%"]);
    wrong("verify", &["--seed", "7"]);
    wrong("backup", &[&backup[..], &["--compression", "rar"]].concat());
    for size in ["1000", "0", "51MiB"] {
        let err = wrong("backup", &[&backup[..], &["--object-size", size]].concat());
        assert!(err.contains("object_size"), "{err}");
    }
    let other = [
        "--volume",
        text(&volume),
        "--volume-id",
        NO_ID,
        "--parent",
        &id,
    ];
    let err = wrong("backup", &other);
    assert!(err.contains("is of volume"), "{err}");
    let inside = scene.tree().join("restored");
    let err = wrong("restore", &["--backup", &id, "--output", text(&inside)]);
    assert!(err.contains("the repository itself"), "{err}");
    assert_eq!(scene.files().len(), 3, "nothing was stored or made");
}

#[test]
fn an_error_is_json_too_when_that_is_asked() {
    let scene = Scene::new();
    let told = scene.run("verify", &["--backup", NO_ID, "--json"]).json(1);
    assert!(told["error"].as_str().unwrap().contains(NO_ID), "{told}");
}

#[test]
fn an_interrupted_backup_leaves_nothing() {
    let scene = Scene::new();
    let volume = scene.file("volume", &volume_like(1, 96 << 20)); // seconds of work for bzip2
    let arguments = [
        "--volume",
        text(&volume),
        "--volume-id",
        VOLUME_ID,
        "--compression",
        "bz2",
    ];
    let mut command = scene.command(
        "backup",
        &[&arguments[..], &["--object-size", "1MiB"]].concat(),
    );
    let running = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let by = Instant::now() + Duration::from_secs(60);
    while scene.files().is_empty() {
        assert!(Instant::now() < by, "nothing was begun");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = Pid::from_raw(running.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = running.wait_with_output().unwrap();
    assert_eq!(ended.status.signal(), None, "it ends by itself");
    let (_, err) = Ended::from(ended).code(1);
    assert!(err.contains("interrupted"), "{err}");

    assert_eq!(scene.files(), Vec::<std::path::PathBuf>::new());
    let beside = std::fs::read_dir(scene.path(".")).unwrap();
    let beside = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!beside.into_iter().any(|name| name.starts_with("bk-")));
    let (out, _) = scene.run("list", &[]).code(0);
    assert!(out.ends_with("0 backup(s), 0 with a problem\n"), "{out}");
}
