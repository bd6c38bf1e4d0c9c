//! `demo`: a volume is backed up, lost and brought back, before the user's eyes.
//!
//! The story is told in order below, one function a chapter; each returns an error as soon as something is not
//! as it says. The services are real processes, reached by HTTP as any client would.

pub(crate) mod api;
mod closing;
pub(crate) mod filesystem;
pub(crate) mod watch;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::json;

use self::api::Api;
use self::closing::Summary;
use crate::build::{Binaries, build_services, target_dir};
use crate::files::{self, ScratchDir};
use crate::say;
use crate::stack::{Broker, Options, Stack};

/// The backend `up` configures.
const BACKEND: &str = "local";
/// The file that becomes the volume.
const SOURCE: &str = "vol-1.raw";

/// Says what the demo will do to this machine, before anything is done.
pub fn introduce(broker: &Broker) {
    say::heading("Emberkeep: a volume is backed up, lost, and brought back");
    say::line("");
    say::line(
        "  A volume of 1 GiB with a real file system is backed up while it is in use, changed,",
    );
    say::line("  backed up again, deleted, and restored. Nothing is faked: this builds and starts");
    match broker {
        Broker::Private => {
            say::line("  a private RabbitMQ node, an api-service and two backup-workers.")
        }
        Broker::Given { .. } => {
            say::line("  an api-service and two backup-workers, on the broker you named.");
        }
    }
    say::line("  They listen on loopback only, take about 2 GiB of disk, and are gone at the end.");
    say::line("");
}

/// Tells the story.
///
/// # Errors
/// When any of it does not come true.
pub async fn run(broker: Broker, keep: bool) -> Result<()> {
    let mut story = Story::begin(broker).await?;
    let told = story.tell().await;
    match &told {
        Ok(summary) => summary.print(),
        Err(_) => story.show_logs(),
    }
    if keep {
        story.keep();
    } else {
        story.end().await?;
    }
    told?;
    say::line("");
    say::heading("All of it came true.");
    Ok(())
}

struct Story {
    chapter: u32,
    start: Instant,
    // Dropped in this order: the processes end before their files go.
    stack: Stack,
    scratch: ScratchDir,
    api: Api,
    volumes: PathBuf,
    backups: PathBuf,
}

/// A finished backup.
struct Backup {
    id: String,
    seconds: f64,
    stored_bytes: u64,
    objects: u64,
}

impl Story {
    async fn begin(broker: Broker) -> Result<Self> {
        let mut chapter = 0;
        let start = Instant::now();
        title(&mut chapter, start, "Build the two services");
        let binaries: Binaries = build_services().await?;
        title(&mut chapter, start, "Start them");
        let scratch = ScratchDir::new(&target_dir().await?, "demo")?;
        let options = Options {
            dir: scratch.path().join("stack"),
            workers: 2,
            listen: None,
            settings: Vec::new(),
            broker,
        };
        let stack = Stack::up(options, binaries).await?;
        let state = stack.state();
        for (name, pid) in &state.pids {
            say::good(format_args!("{name} runs (process {pid})"));
        }
        say::good(format_args!("the API answers at {}", state.endpoint));
        Ok(Self {
            chapter,
            start,
            api: Api::new(&state.endpoint)?,
            volumes: state.volumes_path.clone(),
            backups: state.backups_path.clone(),
            stack,
            scratch,
        })
    }

    async fn tell(&mut self) -> Result<Summary> {
        let image = self.volumes.join(SOURCE);
        let volume = self.make_volume(&image).await?;
        self.refused_without_force(&volume).await?;
        let full = self.full_backup(&volume).await?;
        self.change_files(&image)?;
        let incremental = self.incremental_backup(&volume, &full).await?;
        let digest = filesystem::sha256(&image)?;
        say::good(format_args!(
            "SHA-256 of the volume at this moment: {digest}"
        ));
        self.lose_volume(&volume, &image).await?;
        let (restored, restore_seconds) = self.restore(&incremental).await?;
        self.compare(&restored, &digest)?;
        Ok(Summary {
            full,
            incremental,
            restore_seconds,
            total_seconds: self.start.elapsed().as_secs_f64(),
        })
    }

    async fn make_volume(&mut self, image: &Path) -> Result<String> {
        self.title("A volume with a life inside");
        let contents = filesystem::make(image, self.scratch.path())?;
        say::good(format_args!(
            "made {SOURCE}: {}, an ext4 with {} files of {} in all",
            say::bytes(filesystem::VOLUME_BYTES),
            contents.files,
            say::bytes(contents.bytes)
        ));
        let volume = self.api.manage(BACKEND, SOURCE, "vol-1").await?;
        self.api.volume_settles(&volume, Some("available")).await?;
        say::good(format_args!(
            "Emberkeep took the file over as volume vol-1, id {volume}"
        ));
        let attach = json!({"os-attach": {
            "instance_uuid": "5c1d0c5a-3f0e-4f5a-9a39-1d2f8a0d6a11",
            "mountpoint": "/dev/vdb",
            "mode": "rw",
        }});
        self.api.volume_action(&volume, attach).await?;
        self.api.volume_settles(&volume, Some("in-use")).await?;
        say::good("a server attached it: its status is in-use");
        Ok(volume)
    }

    async fn refused_without_force(&mut self, volume: &str) -> Result<()> {
        self.title("A backup of a volume in use is not made by accident");
        let request = json!({"volume_id": volume, "name": "too-bold"});
        let answer = self.api.ask_for_backup(request).await?;
        anyhow::ensure!(
            answer.status == StatusCode::BAD_REQUEST,
            "a backup of a volume in use without force was answered with {}",
            answer.status
        );
        say::good(format_args!("refused with {}:", answer.status));
        say::shown(answer.message());
        Ok(())
    }

    async fn full_backup(&mut self, volume: &str) -> Result<Backup> {
        self.title("A full backup, with force");
        let request = json!({"volume_id": volume, "name": "full", "force": true});
        let backup = self.watch_backup(request, false).await?;
        self.api.volume_settles(volume, Some("in-use")).await?;
        say::good("the volume is in-use again, as it was before");
        Ok(backup)
    }

    fn change_files(&mut self, image: &Path) -> Result<()> {
        self.title("Life goes on: some files change");
        for change in filesystem::change(image, self.scratch.path())? {
            say::good(change);
        }
        Ok(())
    }

    async fn incremental_backup(&mut self, volume: &str, full: &Backup) -> Result<Backup> {
        self.title("An incremental backup stores what changed, and no more");
        let request = json!({
            "volume_id": volume, "name": "incremental", "incremental": true, "force": true,
        });
        let backup = self.watch_backup(request, true).await?;
        anyhow::ensure!(
            backup.stored_bytes * 10 < full.stored_bytes,
            "the incremental stored {} bytes, the full backup {}: that is not little",
            backup.stored_bytes,
            full.stored_bytes
        );
        say::good(format_args!(
            "{} instead of {}: {:.2} % of the full backup",
            say::bytes(backup.stored_bytes),
            say::bytes(full.stored_bytes),
            percent(backup.stored_bytes, full.stored_bytes)
        ));
        Ok(backup)
    }

    /// Asks for a backup, shows its progress and what is in its container afterwards.
    async fn watch_backup(&self, request: serde_json::Value, incremental: bool) -> Result<Backup> {
        let id = self.api.create_backup(request).await?;
        let (record, time) = watch::until_available(&self.api, &id, "backing up").await?;
        anyhow::ensure!(
            record["is_incremental"].as_bool() == Some(incremental),
            "the backup says of itself: is_incremental {}",
            record["is_incremental"]
        );
        let container = record["container"]
            .as_str()
            .context("a backup has a container")?;
        let objects = record["object_count"].as_u64().unwrap_or(0);
        let files = files_of(&self.backups.join(container))?;
        let prefix = files
            .iter()
            .find_map(|(name, _)| name.strip_suffix("_metadata"))
            .context("the container has no …_metadata")?;
        for end in ["-00001", "_sha256file"] {
            anyhow::ensure!(
                files
                    .iter()
                    .any(|(name, _)| *name == format!("{prefix}{end}")),
                "the container has no …{end}"
            );
        }
        let stored_bytes = files.iter().map(|(_, bytes)| bytes).sum();
        say::good(format_args!(
            "available after {:.1} s. Its container {container} holds, in Cinder's layout:",
            time.as_secs_f64()
        ));
        closing::list(&files, prefix);
        Ok(Backup {
            id,
            seconds: time.as_secs_f64(),
            stored_bytes,
            objects,
        })
    }

    async fn lose_volume(&mut self, volume: &str, image: &Path) -> Result<()> {
        self.title("The volume is lost");
        self.api
            .volume_action(volume, json!({"os-detach": {}}))
            .await?;
        self.api.volume_settles(volume, Some("available")).await?;
        say::good("detached from its server");
        self.api.delete_volume(volume).await?;
        anyhow::ensure!(!image.exists(), "{} is still there", image.display());
        say::good(format_args!(
            "deleted: the API knows no vol-1 any more, and {SOURCE} is gone"
        ));
        Ok(())
    }

    async fn restore(&mut self, backup: &Backup) -> Result<(PathBuf, f64)> {
        self.title("The incremental is restored to a new volume");
        let volume = self.api.restore(&backup.id, "vol-1-restored").await?;
        let (_, time) = watch::until_available(&self.api, &backup.id, "restoring").await?;
        self.api.volume_settles(&volume, Some("available")).await?;
        let seconds = time.as_secs_f64();
        say::good(format_args!(
            "volume vol-1-restored is available after {seconds:.1} s"
        ));
        let path = self.volumes.join(format!("volume-{volume}"));
        Ok((path, seconds))
    }

    fn compare(&mut self, restored: &Path, digest: &str) -> Result<()> {
        self.title("Is it the same?");
        let found = filesystem::sha256(restored)?;
        anyhow::ensure!(
            found == digest,
            "the restored volume differs: its SHA-256 is {found}, it should be {digest}"
        );
        say::good(format_args!(
            "SHA-256 of the restored volume: {found}, the same"
        ));
        filesystem::check(restored).context("check the restored file system")?;
        say::good("e2fsck -fn finds the file system clean");
        let letter = filesystem::read_letter(restored)?;
        anyhow::ensure!(
            letter == filesystem::LETTER,
            "the letter says something else"
        );
        say::good("letter.txt is there:");
        say::shown(letter);
        Ok(())
    }

    fn title(&mut self, text: &str) {
        title(&mut self.chapter, self.start, text);
    }

    /// What the services said last, for a story that went wrong.
    fn show_logs(&self) {
        let logs = &self.stack.state().logs;
        for (name, _) in files_of(logs).unwrap_or_default() {
            say::line(format_args!("the end of {name}:"));
            say::shown(files::tail(&logs.join(name), 12));
        }
    }

    fn keep(mut self) {
        self.stack.live_on();
        self.scratch.keep();
        closing::how_to_go_on(self.stack.state(), self.scratch.path());
    }

    async fn end(self) -> Result<()> {
        self.stack.down().await
    }
}

fn title(chapter: &mut u32, start: Instant, text: &str) {
    *chapter += 1;
    say::line("");
    say::heading(format_args!(
        "{chapter}. {text}  ({} s)",
        start.elapsed().as_secs()
    ));
}

/// Names and sizes of the files of a folder, in order.
fn files_of(folder: &Path) -> Result<Vec<(String, u64)>> {
    let read = || -> std::io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((name, entry.metadata()?.len()));
        }
        files.sort();
        Ok(files)
    };
    read().with_context(|| format!("list {}", folder.display()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "two decimals of a percentage are for the eye"
)]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}
