//! What a person at a terminal sees of a command that works for a while.

use std::process::{Command, Stdio};

use crate::scene::{Scene, VOLUME_ID, text, volume_like};

/// Runs a command whose standard error is a terminal, and gives what appeared there. `None` where `script` of
/// util-linux, which lends the terminal, is not installed.
#[expect(clippy::print_stdout, reason = "a test that cannot run here says so")]
fn shown_on_a_terminal(scene: &Scene, command: &str, arguments: &[&str]) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_backup-worker");
    let tree = scene.tree();
    let line = [
        &[program, command, "--repository", text(&tree)],
        arguments,
        &["> /dev/null"],
    ];
    let script = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        // The terminal has no size of its own.
        .arg(format!("stty cols 120; exec {}", line.concat().join(" ")))
        .arg("/dev/null")
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output();
    match script {
        Ok(ended) => {
            let shown = String::from_utf8(ended.stdout).unwrap();
            assert_eq!(ended.status.code(), Some(0), "{shown}");
            Some(shown)
        }
        Err(error) => {
            println!("SKIPPED: script of util-linux cannot be run: {error}");
            None
        }
    }
}

#[test]
fn a_terminal_shows_progress_and_json_and_pipes_do_not() {
    let scene = Scene::new();
    let volume = scene.file("volume", &volume_like(1, 8 << 20));
    let output = scene.path("restored");
    let backup = ["--volume", text(&volume), "--volume-id", VOLUME_ID];
    let Some(shown) = shown_on_a_terminal(&scene, "backup", &backup) else {
        return;
    };
    let progress = |shown: &str| shown.contains("/8.00 MiB ");
    assert!(progress(&shown), "{shown:?}");

    let metadata = scene.file_of(&["_metadata"]);
    let id = text(&metadata).rsplit('_').nth(1).unwrap();
    let restore = ["--backup", id, "--output", text(&output), "--force"];
    for (command, arguments) in [("verify", &[][..]), ("restore", &restore[..])] {
        let new = std::fs::File::create(&output).unwrap();
        new.set_len(8 << 20).unwrap();
        let shown = shown_on_a_terminal(&scene, command, arguments).unwrap();
        assert!(progress(&shown), "{command}: {shown:?}");
        let quiet = [arguments, &["--json"]].concat();
        let shown = shown_on_a_terminal(&scene, command, &quiet).unwrap();
        assert_eq!(shown, "", "{command}");
        let (_, err) = scene.run(command, arguments).code(0);
        assert_eq!(err, "", "{command}");
    }
}
