//! Records to submit, and the journal of what became of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use consilium_e2e::files_below;
use serde_json::Value;

/// A made-up patient, where no sample records are at hand.
const PATIENT: &str = include_str!("../patient-bundle.json");
/// Its number occurs in every id of that Bundle.
const NUMBER: &str = "00000000001\"";
const PATIENTS: usize = 50;

/// One patient's Bundle, and a folder with those of all others.
pub(crate) struct Input {
    /// Relative to the story's folder.
    pub(crate) first: &'static str,
    /// Relative to the story's folder.
    pub(crate) further: &'static str,
    /// File with the identifier of the first one, relative to the story's folder.
    pub(crate) patient: &'static str,
    /// Of the first one: what no node may ever see.
    pub(crate) family_name: String,
    text: String,
}

impl Input {
    /// Lays them out below the folder: sample records if there are any.
    pub(crate) fn lay_out(folder: &Path) -> anyhow::Result<Self> {
        Self::of(folder, samples())
    }

    /// The same with made-up patients only.
    pub(crate) fn made_up(folder: &Path) -> anyhow::Result<Self> {
        Self::of(folder, Vec::new())
    }

    fn of(folder: &Path, mut samples: Vec<PathBuf>) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("input/further"))?;
        // The smallest Bundle is the patient; all others are the load for later.
        samples.sort_by_key(|path| fs::metadata(path).map_or(u64::MAX, |data| data.len()));
        let (text, others): (String, Vec<(String, String)>) = match samples.split_first() {
            Some((first, others)) => (fs::read_to_string(first)?, read_all(others)?),
            None => (PATIENT.to_owned(), made_up()),
        };
        fs::write(folder.join("input/patient.json"), &text)?;
        for (name, text) in others {
            fs::write(folder.join("input/further").join(name), text)?;
        }
        let bundle: Value = serde_json::from_str(&text)?;
        let identifier = first_text(&bundle, "fullUrl").context("a Bundle without a fullUrl")?;
        let patient = "input/identifier.txt";
        fs::write(folder.join(patient), format!("{identifier}\n"))?;
        let family_name = first_text(&bundle, "family").context("a patient without a name")?;
        Ok(Self { first: "input/patient.json", further: "input/further", patient, family_name, text })
    }

    /// Whether these bytes are a part of what was submitted, as it was.
    pub(crate) fn holds(&self, resource: &str) -> bool {
        !resource.is_empty() && self.text.contains(resource)
    }
}

/// `data/fhir/bundles/*.json` of the folder with shared material.
fn samples() -> Vec<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let shared = std::env::var_os("CONSILIUM_SHARED").map_or_else(beside, PathBuf::from);
    let mut files = files_below(&shared.join("data/fhir/bundles")).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files
}

fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let read = |path: &PathBuf| {
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        Ok((name, fs::read_to_string(path)?))
    };
    files.iter().map(read).collect()
}

fn made_up() -> Vec<(String, String)> {
    let patient = |n| (format!("patient-{n}.json"), PATIENT.replace(NUMBER, &format!("{n:011}\"")));
    (2..=PATIENTS).map(patient).collect()
}

/// The first text under this name, wherever it is.
fn first_text(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::Object(fields) => match fields.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) | None => fields.values().find_map(|value| first_text(value, name)),
        },
        Value::Array(values) => values.iter().find_map(|value| first_text(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Transactions that an import's journal has as certified. The last line may be
/// half written, and an import that has not begun has no journal.
pub(crate) fn certified(journal: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some(line["certified"]["transaction"].as_str()?.to_owned())).collect()
}
