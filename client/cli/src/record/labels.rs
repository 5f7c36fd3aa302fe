//! Labels of the command line: sensitivity codes, which consents may name, and levels.

use std::collections::BTreeSet;

use clap::Args;
use consilium_client::fhir;
use consilium_client::records::RecordDraft;
use consilium_proto::pb::Confidentiality;

use crate::words::parse_level;

/// Labels of what is written.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LabelArgs {
    /// Label beside those of the document's meta.security: a sensitivity code of HL7's v3-ActCode
    /// that consents may name, such as PSY, or a level such as R; may be repeated
    #[arg(long = "label", value_name = "CODE", value_parser = parse)]
    pub(crate) labels: Vec<Label>,
}

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// At least so confidential.
    Level(Confidentiality),
    /// A sensitivity code; some restrict a record by themselves.
    Sensitivity(&'static str),
}

fn parse(text: &str) -> Result<Label, String> {
    let sensitivity = fhir::consent::sensitivity(text).map(Label::Sensitivity);
    let level = || parse_level(text).map(Label::Level);
    let unknown = |_| "is neither a sensitivity code of v3-ActCode (docs/consents.md) nor a level".to_owned();
    sensitivity.map_or_else(level, Ok).map_err(unknown)
}

impl LabelArgs {
    /// The same document with these labels, too: of levels the highest counts.
    pub(super) fn put_on(&self, draft: RecordDraft) -> RecordDraft {
        self.labels.iter().fold(draft, |mut draft, label| {
            let level = match label {
                Label::Level(level) => Some(*level),
                Label::Sensitivity(code) => {
                    draft.labels.insert(code);
                    fhir::restricts(code).then_some(Confidentiality::Restricted)
                }
            };
            draft.confidentiality = level.map_or(draft.confidentiality, |level| draft.confidentiality.max(level));
            draft
        })
    }

    /// A description of a document without labels.
    pub(super) fn none() -> BTreeSet<&'static str> {
        BTreeSet::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::ids::PatientPseudonym;

    use super::*;

    #[test]
    fn labels_raise_the_level_and_never_lower_it() {
        let labelled = |codes: &[&str]| {
            let labels = codes.iter().map(|code| parse(code).unwrap()).collect();
            let draft = RecordDraft::document("note", PatientPseudonym([1; 16]), "text".into());
            let draft = LabelArgs { labels }.put_on(draft);
            (draft.confidentiality, draft.labels.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(labelled(&[]), (Confidentiality::Normal, vec![]));
        assert_eq!(labelled(&["PSY", "MH", "PSY"]), (Confidentiality::Restricted, vec!["MH", "PSY"]));
        assert_eq!(labelled(&["MH"]), (Confidentiality::Normal, vec!["MH"]));
        assert_eq!(labelled(&["V", "L", "PSY"]), (Confidentiality::VeryRestricted, vec!["PSY"]));
        assert_eq!(labelled(&["L"]), (Confidentiality::Normal, vec![]));
        for unknown in ["psy", "", "X", "NOLABEL"] {
            assert!(parse(unknown).is_err(), "{unknown}");
        }
    }
}
