//! The configuration file: profiles, by name.
//!
//! TOML. Keys at its top make the default profile; `[profile.NAME]` tables
//! hold further ones, each over the defaults. Unknown keys are refused, because
//! a misspelt key would silently lower security. Relative paths are relative to
//! the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use consilium_client::{ClientError, Profile, files};
use serde::Deserialize;

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

/// Reads a profile; `None` is the default one.
pub(crate) fn load(path: &Path, name: Option<&str>) -> Result<Profile, ClientError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&files::read_text(path)?, folder, name).map_err(|cause| ClientError::file(path, cause))
}

/// `~/.config/consilium/config.toml`, honouring `XDG_CONFIG_HOME`.
pub(crate) fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("consilium/config.toml"))
}

/// `under` with everything that `over` sets.
pub(crate) fn overridden(under: Profile, over: Profile) -> Profile {
    Profile {
        genesis: over.genesis.or(under.genesis),
        trust: over.trust.or(under.trust),
        endpoints: if over.endpoints.is_empty() { under.endpoints } else { over.endpoints },
        certificate: over.certificate.or(under.certificate),
        key: over.key.or(under.key),
        signing_key: over.signing_key.or(under.signing_key),
        encryption_key: over.encryption_key.or(under.encryption_key),
        search_key: over.search_key.or(under.search_key),
    }
}

/// A profile from text, with paths relative to `folder`.
fn parse(text: &str, folder: &Path, name: Option<&str>) -> Result<Profile, String> {
    let mut top: Section = toml::from_str(text).map_err(|e| explain(&e, text))?;
    if top.profile.values().any(|p| !p.profile.is_empty()) {
        return Err("a profile cannot hold profiles".into());
    }
    let chosen = match name {
        None => Section::default(),
        Some(name) => top.profile.remove(name).ok_or_else(|| format!("has no profile {name:?}"))?,
    };
    Ok(overridden(top.into_profile(folder), chosen.into_profile(folder)))
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
        let profile = parse(TEXT, Path::new("/etc/c"), None).unwrap();
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
        let profile = parse(TEXT, Path::new("/etc/c"), Some("night")).unwrap();
        assert_eq!(profile.genesis, Some("/etc/c/genesis.pb".into()));
        assert_eq!(profile.trust, Some("/etc/c/invitation.pb".into()));
        assert_eq!(profile.certificate, Some("/etc/c/night.pem".into()));
        assert_eq!(profile.signing_key, Some("/etc/c/night.signing.key".into()));
    }

    #[test]
    fn flags_win() {
        let over = Profile { endpoints: vec!["[::1]:1".into()], ..Profile::default() };
        let profile = overridden(parse(TEXT, Path::new(""), None).unwrap(), over);
        assert_eq!(profile.endpoints, ["[::1]:1"]);
        assert_eq!(profile.genesis, Some("genesis.pb".into()));
    }

    #[test]
    fn unknown_keys_and_profiles_are_refused_with_the_line() {
        let error = parse("genesis = \"g\"\nsigningkey = \"k\"\n", Path::new(""), None).unwrap_err();
        assert!(error.starts_with("line 2: unknown field `signingkey`"), "{error}");
        let nested = "[profile.a]\nendpoint = [\"x:1\"]\n";
        assert!(parse(nested, Path::new(""), None).unwrap_err().starts_with("line 2: unknown field"));
        assert_eq!(parse(TEXT, Path::new(""), Some("day")).unwrap_err(), "has no profile \"day\"");
        assert_eq!(
            parse("[profile.a.profile.b]\n", Path::new(""), None).unwrap_err(),
            "a profile cannot hold profiles"
        );
    }
}
