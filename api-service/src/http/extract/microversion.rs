//! Which revision of the API a request speaks: `OpenStack-API-Version: volume 3.45`.

use axum::http::{HeaderMap, HeaderName};

/// The request and response header.
pub(in crate::http) const HEADER: HeaderName = HeaderName::from_static("openstack-api-version");
/// The name this service has in that header.
const SERVICE: &str = "volume";
/// The only major version.
const MAJOR: u32 = 3;

/// A minor version of API version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::http) struct Microversion(u32);

/// Why the header cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum BadMicroversion {
    /// It is well formed, and outside the versions we speak; the version as it came.
    Unsupported(String),
    /// It is not `N.N`, or names no version for this service; the text as it came.
    Malformed(String),
}

impl Microversion {
    /// What a request without the header speaks.
    pub(in crate::http) const MIN: Self = Self(0);
    /// The newest we know; a lower one makes `cinder` print warnings on every command.
    pub(in crate::http) const MAX: Self = Self(71);

    /// `PUT /backups/{id}`.
    pub(in crate::http) const BACKUP_UPDATE: Self = Self(9);
    /// Administrators see a backup's project.
    pub(in crate::http) const BACKUP_PROJECT: Self = Self(18);
    /// Unknown list filters are refused.
    pub(in crate::http) const STRICT_FILTERS: Self = Self(31);
    /// `GET /resource_filters`.
    pub(in crate::http) const RESOURCE_FILTERS: Self = Self(33);
    /// Backups can be sorted by name.
    pub(in crate::http) const BACKUP_SORT_NAME: Self = Self(37);
    /// Backups have metadata.
    pub(in crate::http) const BACKUP_METADATA: Self = Self(43);
    /// Lists can be counted.
    pub(in crate::http) const WITH_COUNT: Self = Self(45);
    /// A volume can be created from a backup.
    pub(in crate::http) const VOLUME_FROM_BACKUP: Self = Self(47);
    /// Snapshots tell their group.
    pub(in crate::http) const GROUP_SNAPSHOTS: Self = Self(14);
    /// Snapshots can be sorted by name.
    pub(in crate::http) const SNAPSHOT_SORT_NAME: Self = Self(30);
    /// Snapshots tell their user.
    pub(in crate::http) const SNAPSHOT_USER: Self = Self(41);
    /// An attached volume can be snapshotted without force.
    pub(in crate::http) const SNAPSHOT_IN_USE: Self = Self(66);
    /// Volumes tell how they are shared.
    pub(in crate::http) const VOLUME_SHARED_TARGETS: Self = Self(48);
    /// Volume services tell whether their backend is up.
    pub(in crate::http) const SERVICE_BACKEND_STATE: Self = Self(49);
    /// A backup can name its zone.
    pub(in crate::http) const BACKUP_ZONE: Self = Self(51);
    /// Administrators see a backup's user.
    pub(in crate::http) const BACKUP_USER: Self = Self(56);
    /// Volumes tell their cluster, to administrators.
    pub(in crate::http) const VOLUME_CLUSTER: Self = Self(61);
    /// Volumes tell the id of their type.
    pub(in crate::http) const VOLUME_TYPE_ID: Self = Self(63);
    /// Volumes tell whether they count against the quota.
    pub(in crate::http) const VOLUME_CONSUMES_QUOTA: Self = Self(65);
    /// Volumes have groups.
    pub(in crate::http) const VOLUME_GROUP: Self = Self(13);
    /// Volumes tell their driver's id, to administrators.
    pub(in crate::http) const VOLUME_PROVIDER: Self = Self(21);

    /// What the request speaks.
    pub(in crate::http) fn from_headers(headers: &HeaderMap) -> Result<Self, BadMicroversion> {
        let mut asked = headers.get_all(HEADER).iter().peekable();
        if asked.peek().is_none() {
            return Ok(Self::MIN);
        }
        let mut whole = Vec::new();
        for value in asked {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            for part in text.split(',') {
                let mut words = part.split_whitespace();
                let service = words.next().unwrap_or_default();
                if service.eq_ignore_ascii_case(SERVICE) {
                    let rest: Vec<&str> = words.collect();
                    return Self::parse(&rest.join(" "));
                }
            }
            whole.push(text);
        }
        Err(BadMicroversion::Malformed(whole.join(",")))
    }

    fn parse(text: &str) -> Result<Self, BadMicroversion> {
        if text == "latest" {
            return Ok(Self::MAX);
        }
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let padded = digits.len() > 1 && digits.starts_with('0');
            (plain && !padded).then(|| digits.parse::<u32>().ok())?
        };
        let versions = text
            .split_once('.')
            .and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        match versions {
            None | Some((0, _)) => Err(BadMicroversion::Malformed(text.to_owned())),
            Some((MAJOR, minor)) if minor <= Self::MAX.0 => Ok(Self(minor)),
            Some(_) => Err(BadMicroversion::Unsupported(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Microversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{MAJOR}.{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str]) -> Result<Microversion, BadMicroversion> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        Microversion::from_headers(&headers)
    }

    #[test]
    fn no_header_means_the_oldest_version() {
        assert_eq!(asked(&[]), Ok(Microversion::MIN));
    }

    #[test]
    fn our_version_is_found_among_those_of_other_services() {
        assert_eq!(
            asked(&["compute 2.1,volume 3.45"]),
            Ok(Microversion::WITH_COUNT)
        );
        assert_eq!(
            asked(&["compute 2.1", " Volume  3.45 "]),
            Ok(Microversion::WITH_COUNT)
        );
        assert_eq!(asked(&["volume latest"]), Ok(Microversion::MAX));
    }

    #[test]
    fn versions_we_do_not_speak_are_told_from_nonsense() {
        for text in ["3.72", "3.99", "2.0", "4.0"] {
            let header = format!("volume {text}");
            assert_eq!(
                asked(&[&header]),
                Err(BadMicroversion::Unsupported(text.to_owned()))
            );
        }
        for text in ["3", "", "3.x", "3.01", "03.1", "3.-1", "3.1.1", "0.9"] {
            let header = format!("volume {text}");
            assert_eq!(
                asked(&[&header]),
                Err(BadMicroversion::Malformed(text.to_owned())),
                "{text}"
            );
        }
        assert_eq!(
            asked(&["compute 2.1"]),
            Err(BadMicroversion::Malformed("compute 2.1".to_owned()))
        );
    }
}
