//! A job's progress before the user's eyes, fed by `GET /v3/backups/{id}/emberkeep-progress`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::api::Api;
use crate::say;

/// How long one backup or restore of the demo may take.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Follows a backup until it is `available` (again); returns it, and how long that took.
pub(crate) async fn until_available(
    api: &Api,
    backup: &str,
    verb: &str,
) -> Result<(Value, Duration)> {
    let start = Instant::now();
    let bar = Bar::new(verb);
    let follow = async {
        let mut clock = tokio::time::interval(Duration::from_millis(100));
        loop {
            clock.tick().await;
            let record = api.backup(backup).await?;
            match record["status"].as_str() {
                Some("available") => return Ok(record),
                Some("error") => anyhow::bail!(
                    "the backup came to `error`: {}",
                    record["fail_reason"].as_str().unwrap_or("no reason given")
                ),
                Some(_) | None => {}
            }
            if let Some(progress) = api.progress(backup).await? {
                bar.show(&progress);
            }
        }
    };
    let record = tokio::time::timeout(PATIENCE, follow)
        .await
        .context("it takes far too long")?;
    bar.bar.finish_and_clear();
    Ok((record?, start.elapsed()))
}

struct Bar {
    bar: ProgressBar,
    /// Where there is no terminal to draw on, a line is said for each of these many tenths.
    tenths_said: std::cell::Cell<u64>,
}

impl Bar {
    fn new(verb: &str) -> Self {
        let style = "      {prefix} {bar:36} {percent:>3} %  {bytes} of {total_bytes}  {msg}";
        let style =
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0);
        bar.set_style(style.progress_chars("█▓░"));
        bar.set_prefix(verb.to_owned());
        Self {
            bar,
            tenths_said: std::cell::Cell::new(0),
        }
    }

    fn show(&self, progress: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let (done, all) = (
            number(&progress["done_bytes"]),
            number(&progress["totals"]["volume"]),
        );
        let phase = progress["phase"].as_str().unwrap_or_default();
        let rate = number(&progress["rate_bytes_per_second"]);
        let mut message = phase.to_owned();
        if rate > 0 {
            message = format!("{phase}, {}/s", say::bytes(rate));
        }
        if let Some(left) = progress["remaining_seconds"].as_u64() {
            message = format!("{message}, {left} s left");
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(message.clone());
        let tenths = (done * 10).checked_div(all).unwrap_or(0);
        if self.bar.is_hidden() && tenths > self.tenths_said.replace(tenths) {
            say::shown(format_args!(
                "{} {} % of {}  {message}",
                self.bar.prefix(),
                tenths * 10,
                say::bytes(all)
            ));
        }
    }
}
