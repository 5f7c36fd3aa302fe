//! A user's profile: which ledger, which nodes, which identity.
//!
//! The configuration file is TOML. Keys at its top make the default profile;
//! `[profile.NAME]` tables hold further ones, each over the defaults. Unknown
//! keys are refused, because a misspelt key would silently lower security.
//! Relative paths are relative to the file. Secrets are named by path only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::ClientError;
use crate::files;

/// Everything that [`crate::Client::connect`] needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The genesis document, protobuf binary.
    pub genesis: Option<PathBuf>,
    /// An encoded `JoinInvitation` (`consilium member invite`): the members'
    /// present CA bundles and nodes. Needed once members have joined or have
    /// rotated their CAs since the genesis; it says whom connections are made
    /// to, and nothing about the ledger.
    pub trust: Option<PathBuf>,
    /// host:port each. Empty: the client addresses in `trust` and the genesis,
    /// own member's first.
    pub endpoints: Vec<String>,
    /// PEM chain of the identity certificate, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM key of the certificate, ECDSA P-256.
    pub key: Option<PathBuf>,
    /// PEM PKCS#8 Ed25519 key that signs transactions. Absent: the certificate's key signs.
    pub signing_key: Option<PathBuf>,
    /// PEM key that opens records.
    pub encryption_key: Option<PathBuf>,
    /// File with 64 hexadecimal digits: the network's key for pseudonyms and search tags.
    pub search_key: Option<PathBuf>,
}

/// Settings from flags or the environment; what is set wins over the file.
/// Relative paths are relative to the working directory.
pub type ProfileOverrides = Profile;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    genesis: Option<PathBuf>,
    trust: Option<PathBuf>,
    endpoints: Option<Vec<String>>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    signing_key: Option<PathBuf>,
    encryption_key: Option<PathBuf>,
    search_key: Option<PathBuf>,
    #[serde(default)]
    profile: BTreeMap<String, Section>,
}

impl Profile {
    /// Reads a profile from a configuration file; `None` is the default one.
    ///
    /// # Errors
    /// [`ClientError::File`] if it cannot be read, is malformed, has unknown
    /// keys, or has no profile of that name.
    pub fn load(path: &Path, name: Option<&str>) -> Result<Self, ClientError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&files::read_text(path)?, folder, name).map_err(|cause| ClientError::file(path, cause))
    }

    /// The same from text, with paths relative to `folder`.
    fn parse(text: &str, folder: &Path, name: Option<&str>) -> Result<Self, String> {
        let mut top: Section = toml::from_str(text).map_err(|e| explain(&e, text))?;
        if top.profile.values().any(|p| !p.profile.is_empty()) {
            return Err("a profile cannot hold profiles".into());
        }
        let chosen = match name {
            None => Section::default(),
            Some(name) => top.profile.remove(name).ok_or_else(|| format!("has no profile {name:?}"))?,
        };
        Ok(top.into_profile(folder).overridden_by(chosen.into_profile(folder)))
    }

    /// This profile with everything that `over` sets.
    #[must_use]
    pub fn overridden_by(self, over: ProfileOverrides) -> Self {
        Self {
            genesis: over.genesis.or(self.genesis),
            trust: over.trust.or(self.trust),
            endpoints: if over.endpoints.is_empty() { self.endpoints } else { over.endpoints },
            certificate: over.certificate.or(self.certificate),
            key: over.key.or(self.key),
            signing_key: over.signing_key.or(self.signing_key),
            encryption_key: over.encryption_key.or(self.encryption_key),
            search_key: over.search_key.or(self.search_key),
        }
    }

    /// `~/.config/consilium/config.toml`, honouring `XDG_CONFIG_HOME`.
    #[must_use]
    pub fn default_path() -> Option<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
        Some(config.join("consilium/config.toml"))
    }
}

impl Section {
    fn into_profile(self, folder: &Path) -> Profile {
        let at = |path: Option<PathBuf>| path.map(|p| folder.join(p));
        Profile {
            genesis: at(self.genesis),
            trust: at(self.trust),
            endpoints: self.endpoints.unwrap_or_default(),
            certificate: at(self.certificate),
            key: at(self.key),
            signing_key: at(self.signing_key),
            encryption_key: at(self.encryption_key),
            search_key: at(self.search_key),
        }
    }
}

/// The parser's message with its line, without quoting the file.
fn explain(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = r#"
genesis = "genesis.pb"
certificate = "/abs/a.pem"
endpoints = ["127.0.0.1:7401"]

[profile.night]
trust = "invitation.pb"
certificate = "night.pem"
signing_key = "night.signing.key"
"#;

    #[test]
    fn default_profile_has_the_top_keys() {
        let profile = Profile::parse(TEXT, Path::new("/etc/c"), None).unwrap();
        let expected = Profile {
            genesis: Some("/etc/c/genesis.pb".into()),
            certificate: Some("/abs/a.pem".into()),
            endpoints: vec!["127.0.0.1:7401".into()],
            ..Profile::default()
        };
        assert_eq!(profile, expected);
    }

    #[test]
    fn named_profile_stands_over_the_defaults() {
        let profile = Profile::parse(TEXT, Path::new("/etc/c"), Some("night")).unwrap();
        assert_eq!(profile.genesis, Some("/etc/c/genesis.pb".into()));
        assert_eq!(profile.trust, Some("/etc/c/invitation.pb".into()));
        assert_eq!(profile.certificate, Some("/etc/c/night.pem".into()));
        assert_eq!(profile.signing_key, Some("/etc/c/night.signing.key".into()));
    }

    #[test]
    fn flags_win() {
        let over = Profile { endpoints: vec!["[::1]:1".into()], ..Profile::default() };
        let profile = Profile::parse(TEXT, Path::new(""), None).unwrap().overridden_by(over);
        assert_eq!(profile.endpoints, ["[::1]:1"]);
        assert_eq!(profile.genesis, Some("genesis.pb".into()));
    }

    #[test]
    fn unknown_keys_and_profiles_are_refused_with_the_line() {
        let error = Profile::parse("genesis = \"g\"\nsigningkey = \"k\"\n", Path::new(""), None).unwrap_err();
        assert!(error.starts_with("line 2: unknown field `signingkey`"), "{error}");
        let nested = "[profile.a]\nendpoint = [\"x:1\"]\n";
        assert!(Profile::parse(nested, Path::new(""), None).unwrap_err().starts_with("line 2: unknown field"));
        assert_eq!(Profile::parse(TEXT, Path::new(""), Some("day")).unwrap_err(), "has no profile \"day\"");
        assert_eq!(
            Profile::parse("[profile.a.profile.b]\n", Path::new(""), None).unwrap_err(),
            "a profile cannot hold profiles"
        );
    }
}
