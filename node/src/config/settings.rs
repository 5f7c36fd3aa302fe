//! The names of all settings, and which of them somebody may have meant.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::{Alarms, Config, Identity, Limits, Listen, Log, Raft, Storage};

/// How alike two names must be, of 0 to 1.
const ALIKE: f64 = 0.75;

/// Paths of all settings, with dots: `raft.tick`.
pub(super) fn names() -> Vec<String> {
    let (path, address) = (PathBuf::new, SocketAddr::from(([0, 0, 0, 0], 0)));
    let every = Config {
        data_dir: path(),
        genesis: path(),
        invitation: Some(path()),
        identity: Identity { certificate: path(), key: path(), vote_key: path() },
        listen: Listen { client: address, peer: address, http: Some(address) },
        raft: Raft::default(),
        limits: Limits::default(),
        storage: Storage::default(),
        alarms: Alarms::default(),
        log: Log::default(),
    };
    let value = serde_json::to_value(every).expect("made of texts and numbers");
    let mut names = Vec::new();
    leaves(&value, String::new(), &mut names);
    names
}

fn leaves(value: &Value, path: String, names: &mut Vec<String>) {
    let Value::Object(fields) = value else { return names.push(path) };
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        leaves(value, path, names);
    }
}

/// The one that is most like a name, if any is.
pub(super) fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a str> {
    let scored =
        candidates.iter().map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, candidate)| candidate.as_str())
}
