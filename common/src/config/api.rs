//! `[api]`, `[auth]` and `[quota]`: the HTTP side.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::domain::Token;

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How clients reach it, if not by the request's own `Host`.
    pub public_endpoint: Option<String>,
    /// Zone of volumes and backups whose owner names none.
    pub default_zone: Token,
    /// Backend of new volumes; needed when several are configured.
    pub default_volume_backend: Option<Token>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8776)),
            public_endpoint: None,
            default_zone: Token::new("nova").expect("`nova` is a token"),
            default_volume_backend: None,
        }
    }
}

/// Who may call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How callers prove who they are.
    pub mode: AuthMode,
    /// With `none`: the project of a request that names none.
    pub default_project: String,
    /// With `none`: the user of a request that names none.
    pub default_user: String,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// They do not: every caller is an administrator of the project it names. For a trusted network.
    None,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::None,
            default_project: "00000000000000000000000000000001".to_owned(),
            default_user: "admin".to_owned(),
        }
    }
}

/// What a project may have; -1 is no limit (Cinder's `quota_*` options).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Backups.
    pub backups: i64,
    /// Sum of the sizes of backed-up volumes, in GiB, incremental or not.
    pub backup_gigabytes: i64,
    /// Volumes.
    pub volumes: i64,
    /// Snapshots.
    pub snapshots: i64,
    /// Sum of the sizes of volumes and snapshots, in GiB.
    pub gigabytes: i64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            backups: 10,
            backup_gigabytes: 1000,
            volumes: 10,
            snapshots: 10,
            gigabytes: 1000,
        }
    }
}
