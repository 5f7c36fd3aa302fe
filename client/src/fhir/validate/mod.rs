//! FHIR R4 validation, before anything is signed: a document is held against HL7's own definitions
//! (`r4.tables`, made by `make fhir-tables`). What is checked and what is not stands in docs/fhir.md.
//!
//! A finding names the place and the rule. It must never hold a value of the document, nor a part
//! of one: findings go to screens, logs and import reports. The walk is linear in the size of the
//! document, and reads nothing but it: no network, no terminology server.

mod bundle;
mod codes;
mod finding;
mod moment;
mod narrative;
mod primitive;
mod rules;
mod tables;
mod target;
mod walk;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

pub use finding::{Finding, Problem};
pub use primitive::Primitive;

use super::{Content, FhirError, FhirProblem, Split};

/// Findings of a document that are listed; the others are counted.
pub const FINDINGS_MAX: usize = 100;

/// What becomes of a document with findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Validation {
    /// It is refused.
    #[default]
    Strict,
    /// The findings are shown, and the record is made.
    Warn,
    /// Nothing is looked for, beyond what a record needs: strict JSON, type, id, patient, size.
    Off,
}

/// Not the name of a [`Validation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("FHIR validation is one of: strict, warn, off")]
pub struct NoValidation;

impl FromStr for Validation {
    type Err = NoValidation;

    fn from_str(text: &str) -> Result<Self, NoValidation> {
        match text {
            "strict" => Ok(Self::Strict),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            _ => Err(NoValidation),
        }
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Warn => "warn",
            Self::Off => "off",
        })
    }
}

/// Judges documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validator {
    /// What becomes of a document with findings.
    pub level: Validation,
    /// URLs of modifier extensions that whoever reads the records understands. Any other one is a
    /// finding: it may turn the meaning of what it stands in around.
    pub modifier_extensions: BTreeSet<String>,
}

/// What was found in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the document, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: usize,
}

impl Report {
    /// All, also those that are not listed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.findings.len() + self.more
    }
}

impl Validator {
    /// With this level and no modifier extension.
    #[must_use]
    pub fn new(level: Validation) -> Self {
        Self { level, modifier_extensions: BTreeSet::new() }
    }

    /// The same, but never refusing: for a document that is on the ledger already.
    #[must_use]
    pub fn lenient(&self) -> Self {
        let level = match self.level {
            Validation::Strict | Validation::Warn => Validation::Warn,
            Validation::Off => Validation::Off,
        };
        Self { level, ..self.clone() }
    }

    /// What is wrong with a document (a resource or a Bundle) that starts on `line` of its file,
    /// whatever the level. Text that is no JSON object has no findings here: [`super::split`]
    /// refuses it.
    #[must_use]
    pub fn examine(&self, document: &[u8], line: usize) -> Report {
        let document = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
        let Ok(value) = serde_json::from_slice::<Value>(document) else { return Report::default() };
        let mut report = walk::Walk::new(self).document(&value);
        bundle::place(&mut report.findings, document, line);
        report
    }

    /// Judges a document together with what [`super::split`] made of it. The report goes to
    /// whoever watches, also where the document is refused.
    ///
    /// # Errors
    /// What `split` refused, or at level strict that there are findings.
    pub fn judge(
        &self,
        document: &[u8],
        line: usize,
        split: Result<Split, FhirError>,
    ) -> (Result<Split, FhirError>, Report) {
        let judged = match (&split, self.level) {
            (_, Validation::Off) | (Ok(Split { content: Content::NotFhir, .. }), _) => false,
            // What cannot be read rightly is not walked either.
            (Err(error), Validation::Strict | Validation::Warn) => !error.problem.is_unreadable(),
            (Ok(_), Validation::Strict | Validation::Warn) => true,
        };
        if !judged {
            return (split, Report::default());
        }
        let report = self.examine(document, line);
        let findings = report.count();
        if self.level == Validation::Strict && findings > 0 {
            let problem = FhirProblem::NotValid { findings };
            return (Err(FhirError { line, path: String::new(), problem }), report);
        }
        (split, report)
    }
}

#[cfg(test)]
mod tests;
