//! What `backup` stores, `restore` brings back.

use crate::scene::{Scene, VOLUME_ID, text, volume_like};

const BLOCK: usize = 32 << 10;

#[test]
fn full_and_incremental_backups_of_every_algorithm_restore_equal() {
    for algorithm in ["lz4", "zstd", "zlib", "bz2", "none"] {
        let scene = Scene::new();
        let form = ["--compression", algorithm, "--object-size", "128KiB"];
        let first = volume_like(1, 20 * BLOCK + 700);
        let full = scene.backup(&first, &form);

        let mut second = first.clone();
        second[5 * BLOCK..6 * BLOCK + 9].copy_from_slice(&volume_like(2, BLOCK + 9));
        second[9 * BLOCK..11 * BLOCK].fill(0);
        second.extend(volume_like(3, 3 * BLOCK)); // it grew
        let on = |parent: &'_ str| -> Vec<String> {
            let form = form.iter().copied().chain(["--parent", parent]);
            form.map(str::to_owned).collect()
        };
        let incremental = |bytes: &[u8], parent: &str| {
            let arguments = on(parent);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            scene.backup(bytes, &arguments)
        };
        let second_id = incremental(&second, &full);
        let third = second[..15 * BLOCK + 3].to_vec(); // it shrank
        let third_id = incremental(&third, &second_id);

        scene.assert_restores(&full, &first);
        scene.assert_restores(&second_id, &second);
        let new = scene.path("third");
        let arguments = ["--backup", &third_id, "--output", text(&new)];
        scene.run("restore", &arguments).code(0);
        assert!(std::fs::read(&new).unwrap() == third, "{algorithm}");
        scene.run("verify", &["--backup", &third_id]).code(0);
    }
}

#[test]
fn an_incremental_stores_only_what_changed() {
    let scene = Scene::new();
    let mut bytes = volume_like(1, 64 * BLOCK);
    let full = scene.backup(&bytes, &[]);
    bytes[40 * BLOCK] ^= 1;
    let volume = scene.file("volume", &bytes);
    let arguments = [
        "--volume",
        text(&volume),
        "--volume-id",
        VOLUME_ID,
        "--parent",
        &full,
    ];
    let report = scene
        .run("backup", &[&arguments[..], &["--json"]].concat())
        .json(0);
    assert_eq!(report["object_count"], 1);
    assert_eq!(report["parent_id"], full.as_str());
    assert!(report["stored_bytes"].as_u64().unwrap() <= BLOCK as u64);
}

#[test]
fn a_differing_restore_writes_the_blocks_that_differ_and_no_other() {
    let scene = Scene::new();
    let bytes = volume_like(1, 40 * BLOCK + 700);
    let backup = scene.backup(&bytes, &["--object-size", "128KiB"]);
    let mut old = bytes.clone();
    old[7 * BLOCK + 5] ^= 1;
    let last = old.len() - 1;
    old[last] ^= 1;
    let target = scene.file("target", &old);
    let arguments = ["--backup", &backup, "--output", text(&target)];
    let how = ["--force", "--differing", "--json"];
    for written in [BLOCK + 700, 0] {
        let report = scene
            .run("restore", &[&arguments[..], &how].concat())
            .json(0);
        assert_eq!(report["written_bytes"], written);
        assert!(std::fs::read(&target).unwrap() == bytes);
    }
    scene
        .run("restore", &[&arguments[..], &["--differing"]].concat())
        .code(2);
}

#[test]
fn nothing_but_the_backup_is_left_behind() {
    let scene = Scene::new();
    scene.backup(&volume_like(1, 3 * BLOCK), &["--name", "nightly"]);
    let names: Vec<_> = scene.files();
    assert_eq!(
        names.len(),
        3,
        "object, sha256 file, metadata file: {names:?}"
    );
    let beside = std::fs::read_dir(scene.path(".")).unwrap();
    let beside = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!beside.into_iter().any(|name| name.starts_with("bk-")));
}

#[test]
fn an_empty_volume_is_backed_up_and_restored() {
    let scene = Scene::new();
    let id = scene.backup(&[], &[]);
    scene.assert_restores(&id, &[]);
}

#[test]
fn holes_are_restored_as_holes() {
    let scene = Scene::new();
    let volume = scene.file("volume", &volume_like(1, BLOCK));
    let file = std::fs::File::options().write(true).open(&volume).unwrap();
    file.set_len(256 << 20).unwrap();
    let arguments = [
        "--volume",
        text(&volume),
        "--volume-id",
        VOLUME_ID,
        "--json",
    ];
    let report = scene.run("backup", &arguments).json(0);
    let id = report["backup_id"].as_str().unwrap();
    let output = scene.path("restored");
    let arguments = ["--backup", id, "--output", text(&output), "--json"];
    let report = scene.run("restore", &arguments).json(0);
    assert_eq!(report["volume_bytes"], 256 << 20);
    assert!(report["written_bytes"].as_u64().unwrap() <= BLOCK as u64);
}

#[test]
fn a_backup_on_top_of_cinders_takes_its_block_size() {
    let scene = Scene::new();
    let case = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/cinder/block-edges");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(case.join("manifest.json")).unwrap()).unwrap();
    copy(
        &case.join(manifest["root"].as_str().unwrap()),
        &scene.tree(),
    );
    let made = manifest["backups"].as_array().unwrap().last().unwrap();
    let (parent, volume_id) = (made["backup_id"].as_str().unwrap(), &made["volume_id"]);

    let output = scene.path("volume");
    let arguments = ["--backup", parent, "--output", text(&output)];
    scene.run("restore", &arguments).code(0);
    let mut bytes = std::fs::read(&output).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0x5a);
    std::fs::write(&output, &bytes).unwrap();

    let volume_id = volume_id.as_str().unwrap();
    let arguments = [
        "--volume",
        text(&output),
        "--volume-id",
        volume_id,
        "--parent",
        parent,
    ];
    let report = scene
        .run("backup", &[&arguments[..], &["--json"]].concat())
        .json(0);
    assert!(report["object_count"].as_u64().unwrap() <= 2, "{report}");
    scene.assert_restores(report["backup_id"].as_str().unwrap(), &bytes);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
