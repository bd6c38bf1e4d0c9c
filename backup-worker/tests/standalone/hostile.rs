//! Trees that somebody made to harm: a clear error, and nothing outside is read or written.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::{Scene, VOLUME_ID, text, volume_like};

const BLOCK: usize = 32 << 10;

/// Restores to a new file and expects damage; gives what was said.
#[track_caller]
fn refuse(scene: &Scene, backup: &str) -> String {
    let output = scene.path("restored");
    let arguments = ["--backup", backup, "--output", text(&output)];
    let begun = Instant::now();
    let (_, err) = scene.run("restore", &arguments).code(3);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took long");
    assert!(!output.exists(), "an output was left: {err}");
    scene.run("verify", &[]).code(3);
    scene.run("list", &[]).code(0);
    assert!(err.contains(backup), "{err}");
    err
}

fn one_backup(scene: &Scene) -> String {
    scene.backup(
        &volume_like(1, 2 * BLOCK),
        &["--object-size", "32KiB", "--compression", "none"],
    )
}

#[test]
fn an_object_that_is_a_symbolic_link_is_not_followed() {
    let scene = Scene::new();
    let id = scene.backup(&volume_like(1, BLOCK), &["--compression", "none"]);
    let object = scene.file_of(&[&id, "-00001"]);
    let outside = scene.path("outside");
    std::fs::rename(&object, &outside).unwrap();
    symlink(&outside, &object).unwrap();
    let err = refuse(&scene, &id);
    assert!(err.contains("symbolic link"), "{err}");
}

#[test]
fn a_pipe_in_an_objects_place_holds_nobody() {
    let scene = Scene::new();
    let id = scene.backup(&volume_like(1, BLOCK), &["--compression", "none"]);
    let object = scene.file_of(&[&id, "-00001"]);
    std::fs::remove_file(&object).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&object).status();
    assert!(made.unwrap().success());
    let err = refuse(&scene, &id);
    assert!(err.contains("no plain file"), "{err}");
}

#[test]
fn a_container_that_is_a_symbolic_link_is_none() {
    let scene = Scene::new();
    let id = one_backup(&scene);
    let container = scene.tree().join(&id[..2]);
    let outside = scene.path("outside");
    std::fs::rename(&container, &outside).unwrap();
    symlink(&outside, &container).unwrap();
    let output = scene.path("restored");
    let arguments = ["--backup", &id, "--output", text(&output)];
    let (_, err) = scene.run("restore", &arguments).code(1);
    assert!(err.contains(&format!("there is no backup {id}")), "{err}");

    // Nor is anything written through one.
    let volume = scene.file("volume", b"secret");
    let mut other = id.clone();
    other.replace_range(35.., if id.ends_with('0') { "1" } else { "0" });
    let arguments = [
        "--volume",
        text(&volume),
        "--volume-id",
        VOLUME_ID,
        "--backup",
        &other,
    ];
    let (_, err) = scene.run("backup", &arguments).code(1);
    assert!(err.contains("symbolic link"), "{err}");
    let below = outside.join(&id[2..4]);
    assert_eq!(std::fs::read_dir(below).unwrap().count(), 1);
}

#[test]
fn an_object_name_that_leads_out_is_refused() {
    for name in ["../../outside", "/etc/hostname", "volume_x-00001"] {
        let scene = Scene::new();
        let id = one_backup(&scene);
        scene.file("outside", &volume_like(1, BLOCK));
        scene.edit_metadata(&id, |metadata| {
            let (_, at) = metadata["objects"][0]
                .as_object()
                .unwrap()
                .iter()
                .next()
                .unwrap();
            metadata["objects"][0] = json!({ name: at.clone() });
        });
        let err = refuse(&scene, &id);
        assert!(err.contains("not under the backup's prefix"), "{err}");
    }
    let scene = Scene::new();
    let id = one_backup(&scene);
    scene.edit_metadata(&id, |metadata| {
        let (name, at) = metadata["objects"][0]
            .as_object()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        let name = format!(
            "{}/../../../../outside",
            name.strip_suffix("-00001").unwrap()
        );
        metadata["objects"][0] = json!({ name: at.clone() });
    });
    let err = refuse(&scene, &id);
    assert!(err.contains("not under the backup's prefix"), "{err}");
}

#[test]
fn lengths_and_places_out_of_all_bounds_cost_nothing() {
    let huge = [
        ("length", u64::MAX),
        ("length", 1 << 60),
        ("length", 1 << 45),
        ("offset", u64::MAX),
        ("offset", 1 << 60),
        ("offset", 1 << 45),
    ];
    for with_digests in [true, false] {
        for (member, value) in huge {
            let scene = Scene::new();
            let id = one_backup(&scene);
            if !with_digests {
                std::fs::remove_file(scene.file_of(&[&id, "_sha256file"])).unwrap();
            }
            scene.edit_metadata(&id, |metadata| {
                let object = metadata["objects"][1].as_object_mut().unwrap();
                object.values_mut().next().unwrap()[member] = json!(value);
            });
            refuse(&scene, &id);
        }
    }
}

#[test]
fn parents_in_a_circle_are_told() {
    let scene = Scene::new();
    let full = one_backup(&scene);
    let child = scene.backup(
        &volume_like(2, 2 * BLOCK),
        &["--parent", &full, "--object-size", "32KiB"],
    );
    scene.edit_metadata(&full, |metadata| metadata["parent_id"] = json!(child));
    for id in [&full, &child] {
        let err = refuse(&scene, id);
        assert!(err.contains("circle"), "{err}");
    }
    scene.edit_metadata(&full, |metadata| metadata["parent_id"] = json!(full));
    let err = refuse(&scene, &full);
    assert!(err.contains("circle"), "{err}");
    let (out, _) = scene.run("list", &[]).code(0);
    assert!(out.contains("parents in a circle"), "{out}");
}

#[test]
fn a_parent_id_that_is_a_path_is_no_id() {
    let scene = Scene::new();
    let id = one_backup(&scene);
    scene.edit_metadata(&id, |metadata| {
        metadata["parent_id"] = json!("../../outside")
    });
    let err = refuse(&scene, &id);
    assert!(err.contains("is no backup's id"), "{err}");
}

#[test]
fn a_metadata_file_of_another_backup_is_refused() {
    let scene = Scene::new();
    let (one, other) = (one_backup(&scene), one_backup(&scene));
    scene.edit_metadata(&one, |metadata| metadata["backup_id"] = json!(other));
    let err = refuse(&scene, &one);
    assert!(
        err.contains(&format!("its metadata file is of backup {other}")),
        "{err}"
    );
}

#[test]
fn what_a_terminal_would_obey_is_not_printed() {
    let scene = Scene::new();
    scene.backup(b"x", &["--name", "a\u{1b}[2Jb"]);
    let (out, _) = scene.run("list", &[]).code(0);
    assert!(!out.contains('\u{1b}'), "{out:?}");
}
