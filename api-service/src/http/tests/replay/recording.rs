//! What the reference was asked and answered, from `tests/fixtures/api-recordings`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// The recording's projects, by who belongs to them.
const ALPHA: &str = "a11fa000000000000000000000000001";
const BETA: &str = "be7a0000000000000000000000000002";
const ADMIN: &str = "ad314000000000000000000000000003";

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

/// A request with its answer.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// `file/case`, with `#number` where a case has several.
    pub(super) name: String,
    /// Who asked; `noauth` is who its token says, nobody sent no token.
    pub(super) who: Option<String>,
    pub(super) request: Request,
    pub(super) response: Response,
}

#[derive(Deserialize)]
struct Entry {
    case: Option<String>,
    step: Option<String>,
    who: Option<String>,
    request: Option<Request>,
    response: Option<Response>,
    #[serde(default)]
    exchanges: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    request: Request,
    response: Response,
}

/// All of them, file by file in the order of the recording.
pub(super) fn all() -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/api-recordings");
    let entries = std::fs::read_dir(&folder).expect("the recordings are there");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let entries: Vec<Entry> = serde_json::from_str(&text).unwrap();
        for (number, entry) in entries.into_iter().enumerate() {
            all.extend(exchanges(&file, number, entry));
        }
    }
    all
}

fn exchanges(file: &str, number: usize, entry: Entry) -> Vec<Exchange> {
    if let (Some(request), Some(response)) = (entry.request, entry.response) {
        let case = entry.case.unwrap_or_else(|| format!("#{number}"));
        // Tempest's users are known by their projects.
        let who = entry.who.or_else(|| {
            (file == "tempest").then(|| {
                let admins = request.path.contains(ADMIN);
                if admins { "admin" } else { "alice" }.to_owned()
            })
        });
        return vec![Exchange {
            name: format!("{file}/{case}"),
            who,
            request,
            response,
        }];
    }
    let step = entry.step.expect("a command line has a name");
    let pairs = entry.exchanges.into_iter().enumerate();
    pairs
        .map(|(index, pair)| Exchange {
            name: format!("{file}/{step}#{index}"),
            who: entry.who.clone(),
            request: pair.request,
            response: pair.response,
        })
        .collect()
}

impl Exchange {
    /// The token to send: with authentication off it says who asks.
    pub(super) fn token(&self) -> Option<String> {
        let token = self.request.headers.get("x-auth-token")?;
        let user = |user: &str, project: &str| Some(format!("{user}:{project}"));
        match self.who.as_deref() {
            Some("alice") => user("c0c1dc703ccb46fc989d0cf17f054ef5", ALPHA),
            Some("rita") => user("rita", ALPHA),
            Some("bob") => user("bob", BETA),
            Some("admin") => user("7dcf6b4a92c94a5b9d2bd3d0a3a7d5a1", ADMIN),
            _ => Some(token.clone()),
        }
    }

    /// The project it is asked for.
    pub(super) fn project(&self, default: &str) -> String {
        let token = self.token().unwrap_or_default();
        let of_token = token.split_once(':').map(|(_, project)| project.to_owned());
        let in_url = self.segments().get(1).map(|segment| (*segment).to_owned());
        let in_url = in_url.filter(|segment| {
            segment.len() == 32 && segment.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        of_token.or(in_url).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn is_admin(&self) -> bool {
        matches!(self.who.as_deref(), Some("admin" | "noauth"))
    }

    /// The path's parts, `v3` first.
    pub(super) fn segments(&self) -> Vec<&str> {
        let path = self.request.path.split('?').next().unwrap_or_default();
        path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// A parameter of the query, as it stands there.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.request.path.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// What the answer shows: (`backup`, `volume` or `snapshot`, each of them).
    pub(super) fn shown(&self) -> (Option<&'static str>, Vec<&Value>) {
        let body = &self.response.body;
        for (one, many) in [
            ("backup", "backups"),
            ("volume", "volumes"),
            ("snapshot", "snapshots"),
        ] {
            if body[one].is_object() {
                return (Some(one), vec![&body[one]]);
            }
            if let Some(list) = body[many].as_array() {
                return (Some(one), list.iter().collect());
            }
        }
        (None, vec![])
    }
}

/// Whether this is an id of a thing.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
}
