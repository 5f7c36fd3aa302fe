//! What every command shares: the connection's settings, output, errors.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::config_file;
use crate::hint::hint;
use crate::json::Document;

use consilium_client::endpoint::Endpoint;
use consilium_client::fhir::BaseUrl;
use consilium_client::fhir::validate::Validation;
use consilium_client::{Claimed, Client, ClientError, FalseAnswer, HeadAge, NodesOf, Profile};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON document (or one per line where results come as a stream).
    Json,
}

/// Which ledger, nodes and identity. Flags win over the environment, and both
/// over the configuration file.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Configuration file [default: ~/.config/consilium/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Profile in the configuration file
    #[arg(long, global = true, value_name = "NAME", env = "CONSILIUM_PROFILE")]
    pub(crate) profile: Option<String>,
    /// Genesis document
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_GENESIS", hide_env_values = true)]
    pub(crate) genesis: Option<PathBuf>,
    /// Invitation, for the addresses of nodes that joined since the genesis
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_TRUST", hide_short_help = true)]
    pub(crate) trust: Option<PathBuf>,
    /// Nodes to talk to, comma-separated
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',', env = "CONSILIUM_ENDPOINTS")]
    pub(crate) endpoints: Vec<Endpoint>,
    /// Members whose nodes may be talked to beside the own member's, comma-separated; '*' for all
    #[arg(long, global = true, value_name = "MEMBER", value_delimiter = ',', env = "CONSILIUM_NODES_OF")]
    pub(crate) nodes_of: Vec<String>,
    /// How old the newest certified head may be, by this machine's clock, in seconds [default: 300]
    #[arg(long, global = true, value_name = "SECONDS", env = "CONSILIUM_MAX_HEAD_AGE", hide_short_help = true)]
    pub(crate) max_head_age: Option<u32>,
    /// Certificate chain, PEM, leaf first
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_CERTIFICATE", hide_short_help = true)]
    pub(crate) certificate: Option<PathBuf>,
    /// Key of the certificate, PEM
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_KEY", hide_short_help = true)]
    pub(crate) key: Option<PathBuf>,
    /// Key that signs transactions, PEM
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_SIGNING_KEY", hide_short_help = true)]
    pub(crate) signing_key: Option<PathBuf>,
    /// Key that opens records, PEM
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_ENCRYPTION_KEY", hide_short_help = true)]
    pub(crate) encryption_key: Option<PathBuf>,
    /// File with the network's search key
    #[arg(long, global = true, value_name = "FILE", env = "CONSILIUM_SEARCH_KEY", hide_short_help = true)]
    pub(crate) search_key: Option<PathBuf>,
    /// Base URLs of the member's own FHIR servers, comma-separated
    #[arg(
        long,
        global = true,
        value_name = "URL",
        value_delimiter = ',',
        env = "CONSILIUM_FHIR_BASE",
        hide_short_help = true
    )]
    pub(crate) fhir_base: Vec<BaseUrl>,
    /// What becomes of a document that is not valid FHIR R4: strict, warn or off [default: strict]
    #[arg(long, global = true, value_name = "LEVEL", env = "CONSILIUM_FHIR_VALIDATION", hide_short_help = true)]
    pub(crate) fhir_validation: Option<Validation>,
}

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// How results are printed.
    pub(crate) output: Output,
    /// Which ledger, nodes and identity.
    pub(crate) connection: ConnectionArgs,
    /// What of the results is a node's word.
    claimed: Mutex<Vec<&'static str>>,
    /// Whose false answers are told of at the end.
    clients: Mutex<Vec<Client>>,
}

impl Context {
    /// A context.
    pub(crate) fn new(output: Output, connection: ConnectionArgs) -> Self {
        Self { output, connection, claimed: Mutex::default(), clients: Mutex::default() }
    }

    /// The profile from file, environment and flags.
    pub(crate) fn profile(&self) -> Result<Profile, CliError> {
        let args = &self.connection;
        let file = match (&args.config, config_file::default_path()) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(path)) if path.exists() || args.profile.is_some() => Some(path),
            (None, _) => None,
        };
        let base = match file {
            Some(path) => config_file::load(&path, args.profile.as_deref())?,
            None => Profile::default(),
        };
        let flags = Profile {
            genesis: args.genesis.clone(),
            trust: args.trust.clone(),
            endpoints: args.endpoints.iter().map(ToString::to_string).collect(),
            nodes_of: config_file::nodes_of(&args.nodes_of)?,
            max_head_age: args.max_head_age.map(config_file::head_age),
            refresh: None,
            certificate: args.certificate.clone(),
            key: args.key.clone(),
            signing_key: args.signing_key.clone(),
            encryption_key: args.encryption_key.clone(),
            search_key: args.search_key.clone(),
            fhir_base: args.fhir_base.clone(),
            fhir_validation: args.fhir_validation,
            fhir_modifier_extensions: Vec::new(),
        };
        Ok(config_file::overridden(base, flags))
    }

    /// A client for the profile.
    pub(crate) async fn client(&self) -> Result<Client, CliError> {
        let client = Client::connect(self.profile()?).await?;
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client.clone());
        Ok(client)
    }

    /// A client for another profile of the configuration file: an identity of its own, so that no
    /// flag counts for it.
    pub(crate) async fn client_of(&self, profile: &str) -> Result<Client, CliError> {
        let file = self.connection.config.clone().or_else(config_file::default_path);
        let file =
            file.ok_or_else(|| CliError::usage("there is no configuration file with profiles: pass --config"))?;
        let client = Client::connect(config_file::load(&file, Some(profile))?).await?;
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client.clone());
        Ok(client)
    }

    /// Tells of answers that were not believed, and writes each into a file.
    pub(crate) fn tell_of_false_answers(&self) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, told) in clients.iter().flat_map(Client::take_false_answers).enumerate() {
            let path = PathBuf::from(format!("false-answer-{}-{number}.json", told.at.0));
            let text = serde_json::to_vec(&Document::new(&FalseAnswerView::new(&told))).unwrap_or_default();
            let (node, call) = (escaped(&told.node), told.call);
            match consilium_client::files::write_new(&path, &text, consilium_client::files::SECRET_MODE) {
                Ok(()) => eprintln!(
                    "node {node} answered {call} falsely. What was asked and answered is in {}: show it to who looks \
                     after that node, and to the other members",
                    path.display()
                ),
                Err(error) => eprintln!("node {node} answered {call} falsely, which cannot be written down: {error}"),
            }
        }
    }

    /// A client for those who look after nodes, also of a network that has come
    /// to a halt: heads may be of any age. For what is a node's own word anyway.
    pub(crate) async fn operators_client(&self, nodes_of: Option<NodesOf>) -> Result<Client, CliError> {
        let profile = self.profile()?;
        let nodes_of = nodes_of.or(profile.nodes_of);
        Ok(Client::connect(Profile { max_head_age: Some(HeadAge::Any), nodes_of, ..profile }).await?)
    }

    /// Path of the genesis document.
    pub(crate) fn genesis_path(&self) -> Result<PathBuf, CliError> {
        Ok(self.profile()?.genesis.ok_or(ClientError::Setting { setting: "genesis" })?)
    }

    /// Prints a result: as JSON, or as the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let line = match self.output {
            Output::Json => {
                let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
                serde_json::to_string(&Document::new(value).claimed(&claimed))
                    .map_err(|e| CliError::failed(e.to_string()))?
            }
            Output::Text => text(value),
        };
        write_stdout(format!("{}\n", line.trim_end_matches('\n')).as_bytes())
    }

    /// Whether results are printed for scripts.
    pub(crate) fn is_json(&self) -> bool {
        match self.output {
            Output::Json => true,
            Output::Text => false,
        }
    }

    /// What a node says and nothing proves, to be printed: it is said with it.
    pub(crate) fn node_says<T>(&self, claimed: Claimed<T>) -> T {
        self.claims("result", "what follows is the word of the node that was asked: it is not proven");
        claimed.into_claimed()
    }

    /// Something of what is printed next is a node's word: as text that is said on stderr, once.
    pub(crate) fn claims(&self, what: &'static str, text: &str) {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.contains(&what) {
            return;
        }
        claimed.push(what);
        if self.output == Output::Text {
            eprintln!("{text}");
        }
    }

    /// A sign of life on stderr for work of unknown length, if that is a
    /// terminal.
    pub(crate) fn spinner(&self, what: &'static str) -> indicatif::ProgressBar {
        if !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        let bar = indicatif::ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A progress bar on stderr, if that is a terminal; otherwise one that
    /// shows nothing.
    pub(crate) fn progress(&self, length: u64, what: &'static str) -> indicatif::ProgressBar {
        if !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        let bar = indicatif::ProgressBar::new(length).with_message(what);
        let template = "{msg} [{bar:30}] {human_pos}/{human_len} {per_sec} ETA {eta}";
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// As shells say of a program that ended because nobody read on (128 + SIGPIPE).
const EXIT_READER_GONE: u8 = 141;

/// How a command ends when it does not succeed: printed on stderr as one
/// `error:` line and, if there is one, a `hint:` line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    exit_code: u8,
}

impl CliError {
    /// The command failed, or a verification did. Exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit_code: 1 }
    }

    /// The arguments make no sense. Exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit_code: 2, ..Self::failed(message) }
    }

    /// Nobody reads what is printed any more: nothing went wrong, and nobody is told.
    fn reader_gone() -> Self {
        Self { message: String::new(), hint: None, exit_code: EXIT_READER_GONE }
    }

    /// Says what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Prints it and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.exit_code == EXIT_READER_GONE {
            return ExitCode::from(self.exit_code);
        }
        let mut err = std::io::stderr().lock();
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(err, "error: {}", escaped(&self.message));
        if let Some(hint) = &self.hint {
            let _ = writeln!(err, "hint: {}", escaped(hint));
        }
        ExitCode::from(self.exit_code)
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Into<ClientError>> From<E> for CliError {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit_code = match error {
            ClientError::Usage(_) | ClientError::Setting { .. } | ClientError::NoOwnNode { .. } => 2,
            _ => 1,
        };
        Self { hint: hint(&error).map(str::to_owned), message: error.to_string(), exit_code }
    }
}

/// Writes to stdout and flushes. The only way to it: `print!` panics once the reader has gone.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        // As after `| head -1`.
        std::io::ErrorKind::BrokenPipe => CliError::reader_gone(),
        _ => CliError::failed(format!("stdout: {error}")),
    })
}

/// Text with control characters (and what reorders text) made visible: names
/// and messages come from the network, and a terminal obeys what it is sent.
pub(crate) fn escaped(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests;

/// An answer that was not believed, for those who look after the node.
#[derive(Serialize)]
pub(crate) struct FalseAnswerView {
    node: String,
    call: &'static str,
    problem: String,
    at_ms: u64,
    /// Encoded messages of the call (consilium/v1/*.proto).
    asked: String,
    answered: String,
}

impl FalseAnswerView {
    pub(crate) fn new(told: &FalseAnswer) -> Self {
        Self {
            node: told.node.clone(),
            call: told.call,
            problem: told.problem.clone(),
            at_ms: told.at.0,
            asked: hex::encode(&told.asked),
            answered: hex::encode(&told.answered),
        }
    }
}
