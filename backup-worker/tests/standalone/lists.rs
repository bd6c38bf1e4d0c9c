//! The list tells what is there, and what is broken about it.

use serde_json::json;

use crate::scene::{Scene, VOLUME_ID, volume_like};

const BLOCK: usize = 32 << 10;

#[test]
fn a_list_tells_all_of_a_backup() {
    let scene = Scene::new();
    let form = ["--object-size", "32KiB", "--compression", "zstd"];
    let full = scene.backup(
        &volume_like(1, 3 * BLOCK),
        &[&form[..], &["--name", "monday"]].concat(),
    );
    let parent = [
        "--parent",
        &full,
        "--name",
        "tuesday",
        "--object-size",
        "32KiB",
    ];
    let child = scene.backup(&volume_like(2, 3 * BLOCK), &parent);
    let listing = scene.run("list", &["--json"]).json(0);
    let rows = listing["backups"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let row = rows
        .iter()
        .find(|row| row["backup_id"] == full.as_str())
        .unwrap();
    assert_eq!(row["volume_id"], VOLUME_ID);
    assert_eq!(row["state"], "whole");
    assert_eq!(row["name"], "monday");
    assert_eq!(row["size_gib"], 1);
    assert_eq!(row["object_count"], 3);
    assert_eq!(row["parent_id"], json!(null));
    assert_eq!(row["problems"], json!([]));
    let objects = scene.files().into_iter().filter(|file| {
        let name = file.to_str().unwrap();
        name.contains(&format!("_backup_{full}-"))
    });
    let stored: u64 = objects.map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(row["stored_bytes"], stored);

    let (out, _) = scene.run("list", &[]).code(0);
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("BACKUP"), "{out}");
    assert!(
        lines[1].contains("full") && lines[1].ends_with("monday"),
        "{out}"
    );
    assert!(
        lines[2].contains(&full) && lines[2].starts_with(&child),
        "{out}"
    );
    assert_eq!(lines[3], "2 backup(s), 0 with a problem");
}

#[test]
fn what_is_broken_is_flagged() {
    let scene = Scene::new();
    let form = ["--object-size", "32KiB", "--compression", "none"];
    let backup = |seed: u64, parent: Option<&str>| {
        let mut form = form.to_vec();
        form.extend(parent.iter().flat_map(|parent| ["--parent", parent]));
        scene.backup(&volume_like(seed, 2 * BLOCK), &form)
    };
    let full = backup(1, None);
    let child = backup(2, Some(&full));
    let grandchild = backup(3, Some(&child));
    let unreadable = backup(4, None);
    let lossy = backup(5, None);

    std::fs::remove_file(scene.file_of(&[&full, "_metadata"])).unwrap();
    std::fs::write(scene.file_of(&[&unreadable, "_metadata"]), "{").unwrap();
    std::fs::remove_file(scene.file_of(&[&lossy, "-00002"])).unwrap();
    let scratch = scene.file_of(&[&lossy, "_metadata"]);
    let scratch = scratch.with_file_name(format!(".emberkeep-{lossy}-a1"));
    std::fs::create_dir(scratch).unwrap();

    let listing = scene.run("list", &["--json"]).json(0);
    let rows = listing["backups"].as_array().unwrap();
    let problems = |id: &str| {
        let row = rows.iter().find(|row| row["backup_id"] == id).unwrap();
        (row["state"].as_str().unwrap(), row["problems"].to_string())
    };
    for (id, state, problem) in [
        (&full, "unfinished", "no metadata file"),
        (&child, "whole", "is unfinished"),
        (&grandchild, "whole", "is unfinished"),
        (
            &unreadable,
            "unreadable",
            "metadata file cannot be understood",
        ),
        (&lossy, "whole", "1 object(s) missing"),
        (&lossy, "whole", "scratch place"),
    ] {
        let (told, problems) = problems(id);
        assert_eq!(told, state);
        assert!(problems.contains(problem), "{problems}");
    }

    for file in scene.files() {
        if file.to_str().unwrap().contains(&full) {
            std::fs::remove_file(file).unwrap();
        }
    }
    let (out, _) = scene.run("list", &[]).code(0);
    assert!(
        out.contains(&format!("! parent {full} is missing")),
        "{out}"
    );
}

#[test]
fn an_empty_tree_has_no_backups() {
    let scene = Scene::new();
    let (out, _) = scene.run("list", &[]).code(0);
    assert!(out.ends_with("0 backup(s), 0 with a problem\n"), "{out}");
    scene.run("verify", &[]).code(0);
}

#[test]
fn strays_are_named_and_left_alone() {
    let scene = Scene::new();
    let id = scene.backup(&volume_like(1, 3 * BLOCK), &["--object-size", "32KiB"]);
    let clean = scene.run("list", &["--strays", "--json"]).json(0);
    assert_eq!(clean["strays"], json!([]));
    let object = scene
        .files()
        .into_iter()
        .find(|file| file.to_str().unwrap().ends_with("-00001"))
        .unwrap();
    let beside = |name: &str| object.with_file_name(name);
    let first = object.file_name().unwrap().to_str().unwrap();
    let surplus = first.replace("-00001", "-00009");
    let unfinished = first.replace(&id, "2f863a48-cc5c-4d12-8a5c-6bb29d309012");
    let scratch = format!(".emberkeep-{id}-a2");
    for stray in [surplus.as_str(), &unfinished, "notes.txt"] {
        std::fs::write(beside(stray), b"x").unwrap();
    }
    std::fs::create_dir(beside(&scratch)).unwrap();
    let before = scene.files();

    let listing = scene.run("list", &["--strays", "--json"]).json(0);
    let strays = listing["strays"].as_array().unwrap();
    let why_of = |name: &str| {
        let found = strays
            .iter()
            .find(|stray| stray["path"].as_str().unwrap().ends_with(name));
        found.unwrap_or_else(|| panic!("{name} in {strays:?}"))["why"].to_string()
    };
    assert_eq!(strays.len(), 4, "{strays:?}");
    assert!(why_of(&surplus).contains("no metadata file"));
    assert!(why_of(&unfinished).contains("no metadata file"));
    assert!(why_of("notes.txt").contains("unknown"));
    assert!(why_of(&scratch).contains("scratch"));
    let (out, _) = scene.run("list", &["--strays"]).code(0);
    assert!(out.trim_end().ends_with("4 stray(s)"), "{out}");
    assert_eq!(scene.files(), before);
}
