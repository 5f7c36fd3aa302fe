//! Settings in the environment: `CONSILIUM_NODE_` and the path of a setting in capitals, with two
//! underscores for each dot. A name that is none is refused, so that a misspelt one is not without
//! effect in silence. What Kubernetes puts there for a Service named `consilium-node` begins alike
//! and is passed over: no setting has such a name.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::{ConfigError, settings};

/// With which the names of all settings begin.
const PREFIX: &str = "CONSILIUM_NODE_";
/// The variable that names the file itself: no setting in it.
const FILE: &str = "CONSILIUM_NODE_CONFIG";

/// What the environment sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Variable and value, by setting.
    settings: BTreeMap<String, (String, String)>,
    /// Variables that are passed over.
    pub(super) passed_over: Vec<String>,
}

impl Environment {
    /// Reads it.
    ///
    /// # Errors
    /// The first variable that is no setting, with the nearest one that is.
    pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut this = Self::default();
        let known = settings::names();
        for (name, value) in variables {
            let name = name.to_string_lossy().into_owned();
            let begins = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
            if !begins || name.eq_ignore_ascii_case(FILE) {
                continue;
            }
            let rest = &name[PREFIX.len()..];
            let setting = rest.to_ascii_lowercase().replace("__", ".");
            if known.contains(&setting) {
                let text = value.into_string().map_err(|_| refused(&name, "is not UTF-8"))?;
                this.settings.insert(setting, (name, text));
            } else if is_service_link(rest) {
                this.passed_over.push(name);
            } else {
                return Err(refused(&name, &unknown(&name, &known)));
            }
        }
        this.passed_over.sort();
        Ok(this)
    }

    /// Settings and their values.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(setting, (_, value))| (setting.as_str(), value.as_str()))
    }

    /// The variable that sets something.
    pub(super) fn variable_of(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).map(|(variable, _)| variable.as_str())
    }
}

fn refused(variable: &str, problem: &str) -> ConfigError {
    ConfigError::Variable { variable: variable.to_owned(), problem: problem.to_owned() }
}

fn unknown(name: &str, known: &[String]) -> String {
    let variables: Vec<String> = known.iter().map(|setting| variable(setting)).collect();
    match settings::nearest(&name.to_ascii_uppercase(), &variables) {
        Some(near) => format!("no such setting; did you mean {near}?"),
        None => "no such setting; README.md lists them, with two underscores for each dot".to_owned(),
    }
}

fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.to_ascii_uppercase().replace('.', "__"))
}

/// Whether it is the rest of a name that Kubernetes gives: of the host or a port of a Service, in
/// its own form or in the one that Docker's links had.
fn is_service_link(rest: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let of_docker = |after: &[&str]| match after {
        [] => true,
        [port, protocol] | [port, protocol, "PROTO" | "PORT" | "ADDR"] => {
            is_number(port) && ["TCP", "UDP", "SCTP"].contains(protocol)
        }
        _ => false,
    };
    words.ends_with(&["SERVICE", "HOST"])
        || words.windows(2).any(|pair| pair == ["SERVICE", "PORT"])
        || (0..words.len()).any(|at| words[at] == "PORT" && of_docker(&words[at + 1..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, String> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::read(variables).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_of_services_are_passed_over() {
        let links = [
            "CONSILIUM_NODE_PEERS_PORT",
            "CONSILIUM_NODE_PEERS_SERVICE_HOST",
            "CONSILIUM_NODE_PEERS_SERVICE_PORT",
            "CONSILIUM_NODE_PEERS_SERVICE_PORT_PEER",
            "CONSILIUM_NODE_PORT",
            "CONSILIUM_NODE_PORT_7401_TCP",
            "CONSILIUM_NODE_PORT_7401_TCP_ADDR",
            "CONSILIUM_NODE_PORT_7401_TCP_PORT",
            "CONSILIUM_NODE_PORT_7401_TCP_PROTO",
            "CONSILIUM_NODE_PORT_53_UDP",
            "CONSILIUM_NODE_SERVICE_HOST",
            "CONSILIUM_NODE_SERVICE_PORT",
            "CONSILIUM_NODE_SERVICE_PORT_CLIENT",
        ];
        let variables: Vec<_> = links.iter().map(|name| (*name, "10.0.0.1")).collect();
        let environment = read(&variables).unwrap();
        assert_eq!(environment.values().count(), 0);
        let mut expected = links.to_vec();
        expected.sort_unstable();
        assert_eq!(environment.passed_over, expected);
        // Of a Service named `consilium`, or of any other: not even looked at.
        assert_eq!(read(&[("CONSILIUM_PORT", "tcp://10.0.0.1"), ("PATH", "/bin")]).unwrap(), Environment::default());
    }

    #[test]
    fn settings_are_taken_and_the_file_is_none() {
        let set = [("CONSILIUM_NODE_RAFT__TICK", "20ms"), ("consilium_node_data_dir", "d"), (FILE, "node.toml")];
        let environment = read(&set).unwrap();
        assert_eq!(environment.values().collect::<Vec<_>>(), [("data_dir", "d"), ("raft.tick", "20ms")]);
        assert_eq!(environment.variable_of("raft.tick"), Some("CONSILIUM_NODE_RAFT__TICK"));
        assert_eq!(environment.passed_over, Vec::<String>::new());
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_the_right_one() {
        let cases = [
            ("CONSILIUM_NODE_LISTEN__CLEINT", "CONSILIUM_NODE_LISTEN__CLIENT"),
            ("CONSILIUM_NODE_LOG_FORMAT", "CONSILIUM_NODE_LOG__FORMAT"),
            ("CONSILIUM_NODE_DATADIR", "CONSILIUM_NODE_DATA_DIR"),
            ("CONSILIUM_NODE_LISTEN__PORT", "CONSILIUM_NODE_LISTEN__PEER"),
        ];
        for (misspelt, right) in cases {
            let refused = read(&[(misspelt, "x")]).unwrap_err();
            let expected = format!("environment variable {misspelt}: no such setting; did you mean {right}?");
            assert_eq!(refused, expected);
        }
        let refused = read(&[("CONSILIUM_NODE_Q", "x")]).unwrap_err();
        assert!(refused.ends_with("two underscores for each dot"), "{refused}");
    }
}
