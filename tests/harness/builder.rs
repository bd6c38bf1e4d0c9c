//! What a test may wish for in its stack.

use std::path::{Path, PathBuf};

use crate::broker::Broker;
use crate::database::Database;
use crate::stack::TestStack;

/// What a stack is to be like.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    pub(crate) api_services: usize,
    pub(crate) workers: usize,
    pub(crate) spare_workers: usize,
    pub(crate) private_broker: bool,
    pub(crate) private_database: bool,
    pub(crate) broker_settings: String,
    pub(crate) proxied: bool,
    pub(crate) own_logins: bool,
    pub(crate) target_files: Option<PathBuf>,
    pub(crate) volumes: Option<PathBuf>,
    pub(crate) settings: Vec<(String, String)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            api_services: 1,
            workers: 1,
            spare_workers: 0,
            private_broker: false,
            private_database: false,
            broker_settings: String::new(),
            proxied: false,
            own_logins: false,
            target_files: None,
            volumes: None,
            settings: Vec::new(),
        }
    }

    /// How many api-services on the one database, which is PostgreSQL then; one unless told.
    pub fn api_services(mut self, count: usize) -> Self {
        self.api_services = count;
        self
    }

    /// A PostgreSQL of its own, which the test may stop.
    pub fn private_database(mut self) -> Self {
        self.private_database = true;
        self
    }

    /// How many workers; one unless told.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// One more worker, which is not started: the test does that.
    pub fn spare_worker(mut self) -> Self {
        self.spare_workers += 1;
        self
    }

    /// Sets a configuration key, for example `backup.compression`, for every process.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A job takes seconds: there is time to strike in its middle.
    pub fn slow(self) -> Self {
        self.set("backup.compression", "bz2")
    }

    /// A broker of its own, which the test may stop.
    pub fn private_broker(mut self) -> Self {
        self.private_broker = true;
        self
    }

    /// A broker of its own with more lines in its `rabbitmq.conf`.
    pub fn private_broker_with(mut self, settings: &str) -> Self {
        settings.clone_into(&mut self.broker_settings);
        self.private_broker()
    }

    /// Each process reaches the broker over a proxy of its own: see [`TestStack::proxies`].
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// The services log in as in a deployment: each as itself, with the rights of the deployed definitions.
    pub fn own_logins(mut self) -> Self {
        self.own_logins = true;
        self
    }

    /// Where the files of the target really are, when the services know it as something else, such as a share.
    pub fn target_files(mut self, directory: &Path) -> Self {
        self.target_files = Some(directory.to_owned());
        self
    }

    /// The directory of the volumes, for example on a file system that shares blocks between files.
    pub fn volumes_in(mut self, directory: &Path) -> Self {
        self.volumes = Some(directory.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> TestStack {
        let broker = if self.private_broker {
            Broker::private(&self.broker_settings).await
        } else {
            Broker::shared().await
        };
        let database = if self.private_database {
            Database::private().await
        } else {
            Database::usual()
        };
        TestStack::start_on(broker, database, self).await
    }
}
