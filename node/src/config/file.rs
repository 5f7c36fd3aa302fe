//! The configuration file: a wrong one is refused with the line.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, settings};

/// The file and its text, which is TOML without unknown keys.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// What is in it.
    pub(super) text: String,
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or holds what is no setting.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        if !path.is_file() {
            let problem = format!("{} is not a file", path.display());
            return Err(ConfigError::Value { key: "--config", problem });
        }
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|e| ConfigError::Value { key: "--config", problem: format!("{}: {e}", path.display()) });
        let this = Self { path: path.to_owned(), text: text? };
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let line = error.span().map(|span| self.line_at(span.start));
            self.refused(line, error.message().to_owned())
        })?;
        let mut keys = Vec::new();
        leaves(table.get_ref(), "", &mut keys);
        let known = settings::names();
        match keys.into_iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(()),
            Some((key, at)) => {
                let near = settings::nearest(&key, &known).map(|near| format!("; did you mean `{near}`?"));
                let problem = format!("key `{key}`: no such setting{}", near.unwrap_or_default());
                Err(self.refused(Some(self.line_at(at)), problem))
            }
        }
    }

    /// That a setting in it is wrong or missing.
    pub(super) fn wrong(&self, key: &str, problem: &str) -> ConfigError {
        let mut keys = Vec::new();
        if let Ok(table) = DeTable::parse(&self.text) {
            leaves(table.get_ref(), "", &mut keys);
        }
        let at = keys.into_iter().find(|(known, _)| known == key).map(|(_, at)| self.line_at(at));
        self.refused(at, format!("key `{key}`: {problem}"))
    }

    fn refused(&self, line: Option<usize>, problem: String) -> ConfigError {
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        ConfigError::File { place: format!("{}{line}", self.path.display()), problem }
    }

    /// The first one is 1.
    fn line_at(&self, byte: usize) -> usize {
        self.text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// All keys with their places, in the order in which they stand in the file.
fn leaves(table: &DeTable<'_>, path: &str, keys: &mut Vec<(String, usize)>) {
    let mut fields: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.iter().collect();
    fields.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in fields {
        let name_text: &str = name.get_ref();
        let path = if path.is_empty() { name_text.to_owned() } else { format!("{path}.{name_text}") };
        match value.get_ref() {
            DeValue::Table(table) => leaves(table, &path, keys),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => keys.push((path, name.span().start)),
        }
    }
}
