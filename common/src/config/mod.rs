//! One TOML file for both binaries; every key can be overridden as `EMBERKEEP__SECTION__KEY`.
//!
//! A section is a file here, named after the outside system it is about. Defaults are the structs'
//! `Default`; `docs/configuration.md` lists them. An error names the key.

mod amqp;
mod api;
mod backup;
mod database;
mod jobs;
mod nfs;
mod telemetry;
mod volume_backends;
mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use amqp::{AllowedPublisher, Amqp};
pub use api::{Api, Auth, AuthMode, Quota};
pub use backup::{Backup, BackupDriver};
pub use database::Database;
pub use jobs::Jobs;
pub use nfs::{Nfs, NfsVersion};
pub use telemetry::{LogFormat, Telemetry};
pub use volume_backends::{VolumeBackend, VolumeBackendDriver};
pub use worker::{IoPriority, Worker, check_rate};

use crate::domain::Token;

/// The whole configuration. A binary uses the sections it owns and ignores the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The broker.
    pub amqp: Amqp,
    /// The state owner's database.
    pub database: Database,
    /// The HTTP side.
    pub api: Api,
    /// Who may call it.
    pub auth: Auth,
    /// Limits for a project.
    pub quota: Quota,
    /// Timers and limits of the job protocol.
    pub jobs: Jobs,
    /// The worker itself.
    pub worker: Worker,
    /// Where volumes are, by name.
    pub volume_backends: BTreeMap<Token, VolumeBackend>,
    /// Where backups go and how they are written.
    pub backup: Backup,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// Why the configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or an override could not be read or has a wrong value; the source names the key.
    #[error("read the configuration")]
    Read(#[source] config::ConfigError),
    /// A value breaks a rule.
    #[error("configuration key `{key}`: {why}")]
    Invalid {
        /// The key, with dots.
        key: String,
        /// The rule.
        why: String,
    },
    /// A `…_file` could not be read.
    #[error("configuration key `{key}`: read {}", path.display())]
    SecretFile {
        /// The key.
        key: &'static str,
        /// The file it names.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(crate) fn invalid(key: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Invalid {
            key: key.into(),
            why: why.to_string(),
        }
    }
}

/// Prefix of overriding environment variables.
const ENVIRONMENT_PREFIX: &str = "EMBERKEEP";

impl Settings {
    /// Defaults, then the file if there is one, then the environment.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown or a value is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = config::Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__");
        Self::from_sources(file, environment)
    }

    fn from_sources(
        file: Option<&Path>,
        environment: config::Environment,
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let mut settings: Self = builder
            .add_source(environment.try_parsing(true))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(ConfigError::Read)?;
        settings.amqp.read_secret_file()?;
        settings.database.read_secret_file()?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.backup.check()?;
        self.jobs.check()?;
        self.worker.check()?;
        self.telemetry.check()
    }
}

/// The text of a secret that may stand in a file of its own.
fn secret_from_file(key: &'static str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|source| ConfigError::SecretFile {
            key,
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::error_chain;

    fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let dir = std::env::temp_dir().join(format!("emberkeep-config-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("emberkeep.toml");
        std::fs::write(&file, toml).unwrap();
        let variables = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let source = config::Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .source(Some(variables));
        let settings = Settings::from_sources(Some(&file), source);
        std::fs::remove_dir_all(&dir).unwrap();
        settings
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = load(
            "[worker]\nslots = 2\nname = \"w1\"",
            &[("EMBERKEEP__WORKER__SLOTS", "7")],
        )
        .unwrap();
        assert_eq!(settings.worker.slots, 7);
        assert_eq!(settings.worker.name.as_str(), "w1");
    }

    #[test]
    fn an_error_names_the_key() {
        for (toml, key) in [
            ("[worker]\nslots = \"many\"", "slots"),
            ("[worker]\nslotz = 3", "slotz"),
            ("[backup]\nobject_size = 1000", "backup.object_size"),
            ("[jobs]\nrenew = \"90s\"", "jobs.renew"),
            ("[worker]\nread_rate = 200", "worker.read_rate"),
            ("[worker]\nstore_rate = \"1000KiB\"", "worker.store_rate"),
            ("[worker]\njob_read_rate = \"1MB\"", "worker.job_read_rate"),
            ("[worker]\njob_store_rate = 1", "worker.job_store_rate"),
            ("[worker]\nnice = 20", "worker.nice"),
            ("[worker]\nnice = -1", "worker.nice"),
            ("[worker]\nio_priority = \"high\"", "io_priority"),
            ("[backup]\ndriver = \"nfs\"", "backup.nfs.share"),
            (
                "[telemetry]\notlp_endpoint = \"https://collector\"",
                "telemetry.otlp_endpoint",
            ),
            ("[telemetry]\nsample_ratio = 1.5", "telemetry.sample_ratio"),
        ] {
            let error = load(toml, &[]).unwrap_err();
            assert!(
                error_chain(&error).contains(key),
                "{} does not name {key}",
                error_chain(&error)
            );
        }
    }

    #[test]
    fn limits_are_sizes_and_none_by_default() {
        let none = load("", &[]).unwrap().worker;
        assert_eq!(none.read_rate.as_u64(), 0);
        assert_eq!((none.nice, none.io_priority), (10, IoPriority::Low));
        let toml = "[worker]\nread_rate = \"200 MiB\"\njob_store_rate = \"1MiB\"\nnice = 0\nio_priority = \"idle\"";
        let worker = load(toml, &[("EMBERKEEP__WORKER__READ_RATE", "0")])
            .unwrap()
            .worker;
        assert_eq!(worker.read_rate.as_u64(), 0, "taken back");
        assert_eq!(worker.job_store_rate.as_u64(), 1 << 20);
        assert_eq!((worker.nice, worker.io_priority), (0, IoPriority::Idle));
    }

    #[test]
    fn backends_are_tables_with_a_name() {
        let settings = load(
            "[volume_backends.fast]\ndriver = \"file\"\npath = \"/srv/volumes\"",
            &[],
        )
        .unwrap();
        let backend = &settings.volume_backends[&Token::new("fast").unwrap()];
        assert_eq!(backend.path, Path::new("/srv/volumes"));
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let page = include_str!("../../../docs/configuration.md");
        let block = page
            .split("```toml")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let documented = load(block, &[]).unwrap();
        let shown = |settings: &Settings| serde_json::to_value(settings).unwrap();
        assert_eq!(documented.amqp.url, Amqp::default().url);
        assert_eq!(shown(&documented), shown(&Settings::default()));
    }

    #[test]
    fn every_key_is_documented() {
        let page = include_str!("../../../docs/configuration.md");
        let all = serde_json::to_value(Settings::default()).unwrap();
        let mut backend = serde_json::to_value(VolumeBackend {
            driver: VolumeBackendDriver::File,
            path: PathBuf::new(),
            keep_snapshot: false,
            restore_differing: false,
        });
        let publisher = serde_json::to_value(AllowedPublisher::default());
        let nfs = serde_json::to_value(Nfs::default());
        let sections = all.as_object().unwrap().values();
        let sections = sections.chain(backend.as_mut().ok().map(|value| &*value));
        let sections = sections.chain(publisher.as_ref().ok());
        let sections = sections.chain(nfs.as_ref().ok());
        let mut count = 0;
        for key in sections.filter_map(|section| section.as_object()) {
            for key in key.keys() {
                count += 1;
                let is_named = [
                    format!("\n{key} = "),
                    format!("\n# {key} = "),
                    format!("`{key}`"),
                ]
                .iter()
                .any(|words| page.contains(words))
                    || page.contains(&format!(".{key}"));
                assert!(is_named, "{key}");
            }
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn passwords_are_not_shown() {
        let settings = load("[amqp]\nurl = \"amqp://me:hush@127.0.0.1:5672/%2f\"", &[]).unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
