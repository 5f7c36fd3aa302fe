//! Labels of the command line: sensitivity codes, which consents may name, and levels. What a record
//! is labelled with is health data, and comes from a file; how confidential it is stands on the
//! ledger.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use consilium_client::records::RecordDraft;
use consilium_client::{ClientError, fhir, files};
use consilium_proto::pb::Confidentiality;

use crate::CliError;
use crate::words::parse_level;

/// What begins a remark in a file of labels.
const REMARK: char = '#';

/// Labels of what is written.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LabelArgs {
    /// File with labels beside those of the document's meta.security, one on each line: a sensitivity
    /// code of HL7's v3-ActCode that consents may name, such as PSY, or a level such as R; what follows
    /// a # is a remark
    #[arg(long, value_name = "FILE")]
    pub(crate) labels_file: Option<PathBuf>,
    /// At least so confidential: U, L, M, N, R or V
    #[arg(long, value_name = "LEVEL", value_parser = parse_level)]
    pub(crate) level: Option<Confidentiality>,
}

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    /// At least so confidential.
    Level(Confidentiality),
    /// A sensitivity code; some restrict a record by themselves.
    Sensitivity(&'static str),
}

/// Labels, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Labelling(Vec<Label>);

impl LabelArgs {
    /// Reads the file.
    pub(super) fn read(&self) -> Result<Labelling, CliError> {
        let mut labels = self.labels_file.as_deref().map(of_file).transpose()?.unwrap_or_default();
        labels.extend(self.level.map(Label::Level));
        Ok(Labelling(labels))
    }

    /// A description of a document without labels.
    pub(super) fn none() -> BTreeSet<&'static str> {
        BTreeSet::new()
    }
}

impl Labelling {
    /// Of a file alone.
    pub(crate) fn of_file(file: &Path) -> Result<Self, CliError> {
        of_file(file).map(Self)
    }

    /// The sensitivity codes.
    pub(crate) fn codes(&self) -> BTreeSet<&'static str> {
        let code = |label: &Label| match label {
            Label::Level(_) => None,
            Label::Sensitivity(code) => Some(*code),
        };
        self.0.iter().filter_map(code).collect()
    }

    /// How confidential it is at least, with what these labels restrict.
    pub(crate) fn level(&self) -> Option<Confidentiality> {
        let level = |label: &Label| match label {
            Label::Level(level) => Some(*level),
            Label::Sensitivity(code) => fhir::restricts(code).then_some(Confidentiality::Restricted),
        };
        self.0.iter().filter_map(level).max()
    }

    /// The same document with these labels, too: of levels the highest counts.
    pub(super) fn put_on(&self, mut draft: RecordDraft) -> RecordDraft {
        draft.labels.extend(self.codes());
        draft.confidentiality = self.level().map_or(draft.confidentiality, |level| draft.confidentiality.max(level));
        draft
    }
}

/// An empty file is more likely a mistake than a wish.
fn of_file(file: &Path) -> Result<Vec<Label>, CliError> {
    let text = files::read_text(file)?;
    let labels = parse(&text).map_err(|problem| ClientError::file(file, problem))?;
    match labels.is_empty() {
        true => Err(ClientError::file(file, "holds no label").into()),
        false => Ok(labels),
    }
}

/// Says on which line something is wrong, never what is in it.
fn parse(text: &str) -> Result<Vec<Label>, String> {
    let mut labels = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split(REMARK).next().unwrap_or_default().trim();
        if code.is_empty() {
            continue;
        }
        let level = || parse_level(code).ok().map(Label::Level);
        let label = fhir::consent::sensitivity(code).map(Label::Sensitivity).or_else(level);
        let unknown = "is neither a sensitivity code of v3-ActCode (docs/consents.md) nor a level";
        labels.push(label.ok_or_else(|| format!("line {number} {unknown}"))?);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::ids::PatientPseudonym;

    use super::*;

    fn labelled(labels: &Labelling) -> (Confidentiality, Vec<&'static str>) {
        let draft = labels.put_on(RecordDraft::document("note", PatientPseudonym([1; 16]), "text".into()));
        (draft.confidentiality, draft.labels.into_iter().collect())
    }

    #[test]
    fn labels_raise_the_level_and_never_lower_it() {
        let labelled = |text| labelled(&Labelling(parse(text).unwrap()));
        assert_eq!(labelled(""), (Confidentiality::Normal, vec![]));
        assert_eq!(labelled("PSY\nMH\nPSY"), (Confidentiality::Restricted, vec!["MH", "PSY"]));
        assert_eq!(labelled("# of the ward\n\n  MH # by Dr. X\r\n"), (Confidentiality::Normal, vec!["MH"]));
        assert_eq!(labelled("V\nL\nPSY"), (Confidentiality::VeryRestricted, vec!["PSY"]));
        assert_eq!(labelled("L"), (Confidentiality::Normal, vec![]));
    }

    #[test]
    fn what_is_no_label_is_named_by_its_line_and_never_repeated() {
        for unknown in ["psy", "X", "NOLABEL", "PSY, MH", "MH PSY"] {
            let problem = parse(&format!("MH\n# a remark\n{unknown}")).unwrap_err();
            assert!(problem.starts_with("line 3 is neither "), "{problem}");
            assert!(!problem.contains(unknown), "{problem}");
        }
    }

    #[test]
    fn labels_come_from_a_file_and_the_level_also_from_an_argument() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.txt");
        let args = |level| LabelArgs { labels_file: Some(file.clone()), level };
        assert!(args(None).read().is_err(), "there is no such file");
        std::fs::write(&file, "# none\n").unwrap();
        let error = args(None).read().unwrap_err();
        assert!(error.to_string().contains("holds no label"), "{error}");
        std::fs::write(&file, "MH\n").unwrap();
        assert_eq!(labelled(&args(None).read().unwrap()), (Confidentiality::Normal, vec!["MH"]));
        let restricted = args(Some(Confidentiality::Restricted)).read().unwrap();
        assert_eq!(labelled(&restricted), (Confidentiality::Restricted, vec!["MH"]));
        let none = LabelArgs::default().read().unwrap();
        assert_eq!(labelled(&none), (Confidentiality::Normal, vec![]));
    }
}
