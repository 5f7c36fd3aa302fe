//! The configuration: one TOML file, then environment variables
//! (`CONSILIUM_NODE_SECTION__KEY`), then flags. Unknown keys are refused, and
//! everything is checked before anything is opened.

mod environment;
mod file;
mod settings;

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;
use serde::{Deserialize, Serialize};

use self::environment::Environment;
use self::file::File;

/// The whole configuration. Relative paths are relative to the file's folder, also those in the
/// environment; those given by flags are relative to the folder of the shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the node keeps its data.
    pub data_dir: PathBuf,
    /// The endorsed genesis document.
    pub genesis: PathBuf,
    /// The invitation, of a node that the genesis document does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<PathBuf>,
    /// Who the node is.
    pub identity: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// Raft's clock and limits.
    #[serde(default)]
    pub raft: Raft,
    /// Bounds of what clients can ask for.
    #[serde(default)]
    pub limits: Limits,
    /// Memory and threads.
    #[serde(default)]
    pub storage: Storage,
    /// When to raise alarms.
    #[serde(default)]
    pub alarms: Alarms,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// Files of the node's identity; read again while the node runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Identity certificate, PEM, leaf first.
    pub certificate: PathBuf,
    /// Its key, PKCS#8 PEM, not readable by others.
    pub key: PathBuf,
    /// P-256 key that signs votes, PKCS#8 PEM, not readable by others.
    pub vote_key: PathBuf,
}

/// Listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For clients, gRPC over mTLS.
    pub client: SocketAddr,
    /// For the other nodes, gRPC over mTLS.
    pub peer: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`, plain HTTP. Keep it off public networks.
    pub http: Option<SocketAddr>,
}

/// Raft. Shorter times notice a dead leader sooner and start more needless
/// elections on slow networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    /// One tick.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// Ticks without a leader until an election, at least; at most twice that.
    pub election_ticks: NonZeroU32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: NonZeroU32,
    /// Blocks that a leader has under way at once. More hides latency, fewer
    /// makes larger blocks.
    pub blocks_in_flight: NonZeroUsize,
    /// Entries after which the log is compacted.
    pub log_entries_max: NonZeroU64,
    /// Entries kept behind at a compaction, for followers that lag.
    pub log_entries_kept: NonZeroU64,
    /// Without a certificate for this long, the leader is changed.
    #[serde(with = "humantime_serde")]
    pub certificate_timeout: Duration,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(50),
            election_ticks: NonZeroU32::new(20).expect("not zero"),
            heartbeat_ticks: NonZeroU32::new(2).expect("not zero"),
            blocks_in_flight: NonZeroUsize::new(2).expect("not zero"),
            log_entries_max: NonZeroU64::new(20_000).expect("not zero"),
            log_entries_kept: NonZeroU64::new(5_000).expect("not zero"),
            certificate_timeout: Duration::from_secs(5),
        }
    }
}

/// Bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Transactions that wait to be ordered; beyond it: RESOURCE_EXHAUSTED.
    pub queued_transactions_max: NonZeroUsize,
    /// Bytes of transactions that wait to be ordered.
    pub queued_bytes_max: NonZeroUsize,
    /// Requests to read of one identity in a minute, in the long run, wherever it asks; beyond
    /// it: RESOURCE_EXHAUSTED. Each leaves an entry in a patient's log for ever: fewer bound
    /// probing and floods of a log, more let one identity read for many people. Emergencies are
    /// counted for themselves. The same on all nodes.
    pub access_requests_per_minute: NonZeroU32,
    /// Those at once, after a pause.
    pub access_requests_burst: NonZeroU32,
    /// Client connections in all.
    pub connections_max: NonZeroUsize,
    /// Connections of other nodes in all.
    pub peer_connections_max: NonZeroUsize,
    /// Client connections of one identity.
    pub connections_per_identity_max: NonZeroUsize,
    /// Requests under way on one connection.
    pub requests_per_connection_max: NonZeroUsize,
    /// Streams of answers of one identity that are open, over all its connections; beyond it:
    /// RESOURCE_EXHAUSTED. Each takes memory and work for as long as it is open.
    pub streams_per_identity_max: NonZeroUsize,
    /// Time for a TLS handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Longest time that a request may wait.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long nothing must be certified before a read of own records without a quorum is
    /// answered; 0: never. Longer than changes of the leader take.
    #[serde(with = "humantime_serde")]
    pub without_quorum_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued_transactions_max: NonZeroUsize::new(10_000).expect("not zero"),
            queued_bytes_max: NonZeroUsize::new(64 * 1024 * 1024).expect("not zero"),
            access_requests_per_minute: NonZeroU32::new(1_200).expect("not zero"),
            access_requests_burst: NonZeroU32::new(2_400).expect("not zero"),
            connections_max: NonZeroUsize::new(2_000).expect("not zero"),
            peer_connections_max: NonZeroUsize::new(512).expect("not zero"),
            connections_per_identity_max: NonZeroUsize::new(200).expect("not zero"),
            requests_per_connection_max: NonZeroUsize::new(512).expect("not zero"),
            streams_per_identity_max: NonZeroUsize::new(128).expect("not zero"),
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            without_quorum_after: Duration::from_secs(8),
        }
    }
}

/// Files of the ledger's database that are open at once, unless the configuration says otherwise.
pub const OPEN_FILES_DEFAULT: u32 = 1_024;
/// Fewer are not enough to open and merge the files of all tables.
const OPEN_FILES_MIN: u32 = 128;
/// More than any ledger has; fits what RocksDB counts with.
const OPEN_FILES_MAX: u32 = 1_000_000;

/// Memory, files and threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Cache of the ledger's database, bytes.
    pub cache_bytes: NonZeroUsize,
    /// Files of the ledger's database that are open at once. One that is read and not open is
    /// opened again for it: with fewer, a large ledger is read more slowly.
    pub open_files_max: NonZeroU32,
    /// Threads that verify signatures. 0: half of the processors, at least one.
    pub verify_threads: usize,
    /// Threads that serve the network. 0: half of the processors, at least one;
    /// more only hand work to each other.
    pub network_threads: usize,
    /// Time that opening a database may take: some damage makes RocksDB read for ever.
    #[serde(with = "humantime_serde")]
    pub open_timeout: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        let cache_bytes = NonZeroUsize::new(256 * 1024 * 1024).expect("not zero");
        Self {
            cache_bytes,
            open_files_max: NonZeroU32::new(OPEN_FILES_DEFAULT).expect("not zero"),
            verify_threads: 0,
            network_threads: 0,
            open_timeout: Duration::from_secs(300),
        }
    }
}

impl Storage {
    /// Threads that verify signatures, resolved.
    #[must_use]
    pub fn verify_threads(&self) -> usize {
        or_half_of_the_processors(self.verify_threads)
    }

    /// Threads that serve the network, resolved.
    #[must_use]
    pub fn network_threads(&self) -> usize {
        or_half_of_the_processors(self.network_threads)
    }
}

fn or_half_of_the_processors(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1)),
        n => n,
    }
}

/// When to raise alarms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alarms {
    /// Days before the end of this node's certificate, and before the day on
    /// which a quorum would be lost, from which on an alarm says so. Longer
    /// than a renewal takes, shorter than a certificate lasts.
    pub expiry_days: NonZeroU32,
    /// Bytes that are free on the disk of `data_dir` below which an alarm says so; a tenth of the
    /// disk if that is less. More than is written while somebody finds another disk.
    pub disk_free_bytes: NonZeroU64,
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            expiry_days: NonZeroU32::new(14).expect("not zero"),
            disk_free_bytes: NonZeroU64::new(10 * 1024 * 1024 * 1024).expect("not zero"),
        }
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` for machines, `text` for people.
    pub format: LogFormat,
    /// A filter as `info` or `consilium_node=debug,info`.
    pub filter: String,
    /// Bytes that the log grows by in a minute, at most; errors may take a quarter more.
    pub bytes_per_minute: NonZeroU64,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for Log {
    fn default() -> Self {
        let bytes_per_minute = NonZeroU64::new(4 * 1024 * 1024).expect("not zero");
        Self { format: LogFormat::Json, filter: "info".into(), bytes_per_minute }
    }
}

/// Why the configuration is refused. Names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Something in the file.
    #[error("{place}: {problem}")]
    File {
        /// The file, and the line if it is known.
        place: String,
        /// The key, and what is wrong.
        problem: String,
    },
    /// Something in the environment.
    #[error("environment variable {variable}: {problem}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong.
        problem: String,
    },
    /// A value does not fit.
    #[error("configuration key `{key}`: {problem}")]
    Value {
        /// Path of the key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// Reads and checks.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn load(file: &Path, overrides: Overrides) -> Result<Self, ConfigError> {
        Self::load_with(file, std::env::vars_os(), overrides)
    }

    fn load_with(
        path: &Path,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        let file = File::read(path)?;
        let environment = Environment::read(variables)?;
        let mut figment = Figment::new().merge(Toml::string(&file.text));
        for (setting, value) in environment.values() {
            let Ok::<Value, Infallible>(value) = value.parse();
            figment = figment.merge(Serialized::default(setting, value));
        }
        let figment = figment.merge(Serialized::defaults(overrides));
        let mut config: Self = figment.extract().map_err(|error| explain(&error, &file, &environment))?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let Self { data_dir, genesis, invitation, identity, .. } = self;
        let paths = [data_dir, genesis, &mut identity.certificate, &mut identity.key, &mut identity.vote_key];
        for path in paths.into_iter().chain(invitation) {
            *path = folder.join(&*path);
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |key, problem: String| Err(ConfigError::Value { key, problem });
        for (key, path) in [
            ("genesis", &self.genesis),
            ("identity.certificate", &self.identity.certificate),
            ("identity.key", &self.identity.key),
            ("identity.vote_key", &self.identity.vote_key),
        ] {
            if !path.is_file() {
                return fail(key, format!("{} is not a file", path.display()));
            }
        }
        if let Some(path) = self.invitation.as_ref().filter(|path| !path.is_file()) {
            return fail("invitation", format!("{} is not a file", path.display()));
        }
        let Raft { tick, election_ticks, heartbeat_ticks, log_entries_max, log_entries_kept, .. } = &self.raft;
        if *tick < Duration::from_millis(5) || *tick > Duration::from_secs(1) {
            return fail("raft.tick", "must be between 5ms and 1s".into());
        }
        if heartbeat_ticks >= election_ticks {
            return fail("raft.heartbeat_ticks", format!("must be below election_ticks ({election_ticks})"));
        }
        if log_entries_kept > log_entries_max {
            return fail("raft.log_entries_kept", format!("must not exceed log_entries_max ({log_entries_max})"));
        }
        let (burst, per_minute) = (self.limits.access_requests_burst, self.limits.access_requests_per_minute);
        if u64::from(burst.get()) * 60 < u64::from(per_minute.get()) {
            let problem = format!("must be a second's share of access_requests_per_minute ({per_minute}) at least");
            return fail("limits.access_requests_burst", problem);
        }
        let open_files = self.storage.open_files_max.get();
        if !(OPEN_FILES_MIN..=OPEN_FILES_MAX).contains(&open_files) {
            return fail("storage.open_files_max", format!("must be between {OPEN_FILES_MIN} and {OPEN_FILES_MAX}"));
        }
        if self.listen.client == self.listen.peer && self.listen.client.port() != 0 {
            return fail("listen.peer", "must differ from listen.client".into());
        }
        Ok(())
    }
}

/// Says where what is wrong stands.
fn explain(error: &figment::Error, file: &File, environment: &Environment) -> ConfigError {
    let path = error.path.join(".");
    if let Kind::MissingField(field) = &error.kind {
        let key = if path.is_empty() { field.to_string() } else { format!("{path}.{field}") };
        return file.wrong(&key, "is missing");
    }
    let problem = error.kind.to_string();
    match environment.variable_of(&path) {
        Some(variable) => ConfigError::Variable { variable: variable.to_owned(), problem },
        None => file.wrong(&path, &problem),
    }
}

/// Variables of the environment that look like settings, and are what Kubernetes tells of a
/// Service: they are passed over.
#[must_use]
pub fn variables_passed_over() -> Vec<String> {
    Environment::read(std::env::vars_os()).map(|environment| environment.passed_over).unwrap_or_default()
}

/// Values given by flags; `None` leaves the file's.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Overrides {
    /// `--data-dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
}

impl Overrides {
    /// As given to a command that was called in `folder`, to which relative paths are relative.
    #[must_use]
    pub fn given_in(folder: &Path, data_dir: Option<PathBuf>) -> Self {
        Self { data_dir: data_dir.map(|path| folder.join(path)) }
    }
}

#[cfg(test)]
mod tests;
