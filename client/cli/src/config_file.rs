//! The configuration file: profiles, by name.
//!
//! TOML. Keys at its top make the default profile; `[profile.NAME]` tables
//! hold further ones, each over the defaults. Unknown keys are refused, because
//! a misspelt key would silently lower security. Relative paths are relative to
//! the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consilium_client::endpoint::Endpoint;
use consilium_client::fhir::BaseUrl;
use consilium_client::fhir::validate::Validation;
use consilium_client::{ClientError, HeadAge, NodesOf, Profile, files};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    genesis: Option<PathBuf>,
    trust: Option<PathBuf>,
    endpoints: Option<Vec<Endpoint>>,
    nodes_of: Option<Vec<String>>,
    max_head_age_s: Option<u32>,
    refresh_s: Option<u32>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    signing_key: Option<PathBuf>,
    encryption_key: Option<PathBuf>,
    search_key: Option<PathBuf>,
    fhir_base: Option<Vec<String>>,
    fhir_validation: Option<String>,
    fhir_modifier_extensions: Option<Vec<String>>,
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
        nodes_of: over.nodes_of.or(under.nodes_of),
        max_head_age: over.max_head_age.or(under.max_head_age),
        refresh: over.refresh.or(under.refresh),
        certificate: over.certificate.or(under.certificate),
        key: over.key.or(under.key),
        signing_key: over.signing_key.or(under.signing_key),
        encryption_key: over.encryption_key.or(under.encryption_key),
        search_key: over.search_key.or(under.search_key),
        fhir_base: if over.fhir_base.is_empty() { under.fhir_base } else { over.fhir_base },
        fhir_validation: over.fhir_validation.or(under.fhir_validation),
        fhir_modifier_extensions: match over.fhir_modifier_extensions.is_empty() {
            true => under.fhir_modifier_extensions,
            false => over.fhir_modifier_extensions,
        },
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
    let profile = |section: Section| section.into_profile(folder).map_err(|e| e.to_string());
    Ok(overridden(profile(top)?, profile(chosen)?))
}

/// The setting, if anyone is named.
pub(crate) fn nodes_of(members: &[String]) -> Result<Option<NodesOf>, ClientError> {
    if members.is_empty() { Ok(None) } else { NodesOf::parse(members).map(Some) }
}

/// Base URLs of the member's own FHIR servers.
fn fhir_base(texts: &[String]) -> Result<Vec<BaseUrl>, ClientError> {
    let base = |text: &String| text.parse::<BaseUrl>().map_err(|e| ClientError::Usage(format!("fhir_base: {e}")));
    texts.iter().map(base).collect()
}

fn validation(text: &str) -> Result<Validation, ClientError> {
    text.parse().map_err(|e| ClientError::Usage(format!("fhir_validation: {e}")))
}

pub(crate) fn head_age(seconds: u32) -> HeadAge {
    HeadAge::Within(Duration::from_secs(seconds.into()))
}

impl Section {
    fn into_profile(self, folder: &Path) -> Result<Profile, ClientError> {
        let at = |path: Option<PathBuf>| path.map(|p| folder.join(p));
        Ok(Profile {
            genesis: at(self.genesis),
            trust: at(self.trust),
            endpoints: self.endpoints.iter().flatten().map(ToString::to_string).collect(),
            // An empty list is a word, too: the own member alone.
            nodes_of: self.nodes_of.as_deref().map(NodesOf::parse).transpose()?,
            max_head_age: self.max_head_age_s.map(head_age),
            refresh: self.refresh_s.map(|seconds| Duration::from_secs(seconds.into())),
            certificate: at(self.certificate),
            key: at(self.key),
            signing_key: at(self.signing_key),
            encryption_key: at(self.encryption_key),
            search_key: at(self.search_key),
            fhir_base: fhir_base(self.fhir_base.as_deref().unwrap_or_default())?,
            fhir_validation: self.fhir_validation.as_deref().map(validation).transpose()?,
            fhir_modifier_extensions: self.fhir_modifier_extensions.unwrap_or_default(),
        })
    }
}

/// The parser's message with its line, without quoting the file.
fn explain(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests;
