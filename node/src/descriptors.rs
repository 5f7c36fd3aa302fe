//! File descriptors: how many a node needs at most, and whether the system lets it have so many.
//! Connections are taken only as far as the databases keep what they need, so that strangers who
//! open connections can never keep a database from opening its files: that would end the node.
//!
//! What does not fit is refused at the start, with numbers. Nothing here closes anything.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::http;
use crate::storage::raft_log;

/// Connections that this node makes itself: a stream and calls to each peer, what it forwards and
/// what it fetches.
const OUTGOING: u64 = 256;
/// What the databases open beside files of rows: logs of writes, manifests, files being merged.
const DATABASE_EXTRA: u64 = 64;
/// Listeners, timers and wakers of the runtime, standard streams, certificates, small files.
const SPARE: u64 = 64;

/// The most descriptors that a node has open at once, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Connections of clients, `limits.connections_max`.
    pub clients: u64,
    /// Connections of other nodes, `limits.peer_connections_max`.
    pub peers: u64,
    /// Connections of probes and scrapers, if they are listened to.
    pub probes: u64,
    /// Connections that this node makes.
    pub outgoing: u64,
    /// Files of both databases.
    pub storage: u64,
    /// All else.
    pub spare: u64,
}

/// The system does not let the process have what its configuration needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("file descriptors: {}", self.text())]
pub struct TooFew {
    need: Need,
    limit: u64,
}

impl Need {
    /// What a configuration needs.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let connections = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let open_files = u64::from(config.storage.open_files_max.get()) + u64::from(raft_log::OPEN_FILES_MAX);
        Self {
            clients: connections(config.limits.connections_max.get()),
            peers: connections(config.limits.peer_connections_max.get()),
            probes: config.listen.http.map_or(0, |_| connections(http::CONNECTIONS_MAX)),
            outgoing: OUTGOING,
            storage: open_files.saturating_add(DATABASE_EXTRA),
            spare: SPARE,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { clients, peers, probes, outgoing, storage, spare } = *self;
        [clients, peers, probes, outgoing, storage, spare].into_iter().fold(0, u64::saturating_add)
    }

    /// Checks them against what a process may have.
    ///
    /// # Errors
    /// [`TooFew`], with what to do.
    pub fn fit(self, limit: u64) -> Result<(), TooFew> {
        if self.total() <= limit { Ok(()) } else { Err(TooFew { need: self, limit }) }
    }
}

impl TooFew {
    fn text(&self) -> String {
        let Self { need, limit } = self;
        let Need { clients, peers, probes, outgoing, storage, spare } = need;
        let total = need.total();
        let missing = total.saturating_sub(*limit);
        let lower = match clients.saturating_sub(missing) {
            0 => "lower limits.connections_max, limits.peer_connections_max and storage.open_files_max".to_owned(),
            fitting => format!("set limits.connections_max to {fitting} at most"),
        };
        format!(
            "this configuration needs {total} ({clients} clients, {peers} other nodes, {probes} probes, {outgoing} for \
             calls to other nodes, {storage} files of the databases, {spare} spare), and this process may have {limit}: \
             raise the hard limit (`LimitNOFILE=` of the systemd unit, `ulimit -Hn` of a shell), or {lower}"
        )
    }
}

/// Raises the soft limit of this process to its hard limit, and returns what it may have then.
/// Where the system refuses that, the soft limit stays.
#[must_use]
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    // `None`: without a limit.
    if raised { maximum } else { current }.unwrap_or(u64::MAX)
}

/// Raises the limit of this process, and checks that the configuration fits.
///
/// # Errors
/// [`TooFew`], with what to do.
pub fn reserve(config: &Config) -> Result<Need, TooFew> {
    let need = Need::of(config);
    need.fit(raise())?;
    Ok(need)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "data_dir='d'\ngenesis='g'\n[identity]\ncertificate='c'\nkey='k'\nvote_key='v'\n\
             [listen]\nclient='127.0.0.1:1'\npeer='127.0.0.1:2'\nhttp='127.0.0.1:3'\n{more}"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn the_document_names_what_the_defaults_need() {
        let need = Need::of(&config(""));
        let document = include_str!("../../docs/operations.md");
        let row = |name: &str| {
            let line = document.lines().find(|line| line.starts_with(&format!("| {name}"))).unwrap();
            line.rsplit('|').nth(1).unwrap().trim().replace(',', "").parse::<u64>().unwrap()
        };
        assert_eq!(row("connections of clients"), need.clients);
        assert_eq!(row("connections of other nodes"), need.peers);
        assert_eq!(row("connections of probes"), need.probes);
        assert_eq!(row("calls to other nodes"), need.outgoing);
        assert_eq!(row("files of the databases"), need.storage);
        assert_eq!(row("spare descriptors"), need.spare);
        assert_eq!(row("**descriptors in all**"), need.total());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let need = Need::of(&config("[limits]\nconnections_max=1000\npeer_connections_max=100\n"));
        let total = need.total();
        need.fit(total).unwrap();
        let refused = need.fit(total - 1).unwrap_err().to_string();
        assert!(refused.contains(&format!("needs {total} (1000 clients, 100 other nodes")), "{refused}");
        assert!(refused.contains(&format!("may have {}", total - 1)), "{refused}");
        assert!(refused.ends_with("set limits.connections_max to 999 at most"), "{refused}");
        let lowered = Need::of(&config("[limits]\nconnections_max=999\npeer_connections_max=100\n"));
        lowered.fit(total - 1).unwrap();
        let refused = need.fit(256).unwrap_err().to_string();
        assert!(refused.ends_with("limits.peer_connections_max and storage.open_files_max"), "{refused}");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert_eq!(limit, current.unwrap_or(u64::MAX));
    }
}
