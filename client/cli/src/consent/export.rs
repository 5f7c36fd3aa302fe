//! `consilium consent export`: a consent on the ledger as a FHIR R4 Consent.

use std::path::PathBuf;

use clap::Args;
use consilium_client::access_log::KnownConsent;
use consilium_client::fhir::consent::{Context as Names, to_fhir};
use consilium_client::files;
use consilium_client::labels::Labels;
use consilium_proto::ids::{ConsentId, PatientPseudonym};
use serde::Serialize;
use serde_json::Value;

use crate::{CliError, Context, private};

/// Arguments of `consent export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    patient: PatientPseudonym,
    /// The consent
    #[arg(value_name = "CONSENT")]
    consent: ConsentId,
    /// File with the reference to the patient, such as `Patient/ID`; '-' for standard input
    #[arg(long, value_name = "FILE")]
    patient_file: PathBuf,
    /// Reference to the organization that manages it, such as `Organization/ID`
    #[arg(long, value_name = "REFERENCE")]
    organization: String,
    /// Reference to who agreed to it [default: the patient]
    #[arg(long, value_name = "REFERENCE")]
    performer: Option<String>,
    /// Reference to what was signed [default: `urn:uuid:` with the consent's id]
    #[arg(long, value_name = "REFERENCE")]
    source: Option<String>,
    /// Write the document here; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs it.
pub(super) async fn run(args: ExportArgs, ctx: &Context) -> Result<(), CliError> {
    let reference = private::line(&args.patient_file, "reference to the patient")?;
    let client = ctx.client().await?;
    let rows = client.linked_patient_rows(args.patient).await?;
    let labels = client.labels_in(&rows)?;
    let found = rows.patient.consents.iter().find(|known| known.id == args.consent);
    let known = found.ok_or_else(|| CliError::failed(format!("the patient has no consent {} in force", args.consent)));
    let known = known?;
    let document = args.document(known, reference.to_string(), &labels)?;
    let text = serde_json::to_vec_pretty(&document).map_err(|e| CliError::failed(format!("the document: {e}")))?;
    files::write_new(&args.out, &text, files::SECRET_MODE)?;
    let (consent, version, file) = (known.id.to_string(), known.state.version, args.out.display().to_string());
    ctx.print(&ExportedView { consent, version, file }, |view| {
        format!("consent {} version {} written to {}", view.consent, view.version, view.file)
    })
}

/// A document that was written.
#[derive(Serialize)]
struct ExportedView {
    consent: String,
    version: u32,
    file: String,
}

impl ExportArgs {
    fn document(&self, known: &KnownConsent, patient: String, labels: &Labels) -> Result<Value, CliError> {
        let names = Names {
            performer: self.performer.clone().unwrap_or_else(|| patient.clone()),
            patient,
            organization: self.organization.clone(),
            source: self.source.clone().unwrap_or_else(|| urn(&known.id)),
            date_time_ms: known.state.signed_ms,
            labels: Box::new(|code| labels.tags(code)),
            project: Box::new(|_| None),
        };
        to_fhir(&known.grant, &names).map_err(|e| {
            CliError::failed(format!("no FHIR Consent can say this one: {e}"))
                .hint("`consilium consent list` tells it in words")
        })
    }
}

/// RFC 9562: the sixteen bytes of a consent's id, as a UUID is written.
fn urn(id: &ConsentId) -> String {
    let hex = id.to_string();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;
    use consilium_client::fhir::consent::{Mapping, translate};
    use consilium_proto::consent::{Grant, Grantee, Rule};
    use consilium_proto::pb::{self, ConsentBase, ConsentEffect, PurposeOfUse};

    use super::*;

    #[derive(Debug, Parser)]
    struct Export {
        #[command(flatten)]
        args: ExportArgs,
    }

    #[test]
    fn what_is_exported_says_the_same_when_it_is_put() {
        let rule = Rule {
            grantees: vec![Grantee::Member("b.example".parse().unwrap())],
            purposes: vec![PurposeOfUse::Treat],
            kinds: vec!["Observation".to_owned()],
            ..Rule::of_effect(ConsentEffect::Permit)
        };
        let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
        let state = pb::ConsentState { signed_ms: 1_790_000_000_000, ..pb::ConsentState::default() };
        let known = KnownConsent { id: ConsentId([0x5a; 16]), state, grant: grant.clone() };
        let line = format!(
            "export {} {} --patient-file - --organization Organization/7 --out c.json",
            "01".repeat(16),
            known.id
        );
        let export = Export::try_parse_from(line.split_whitespace()).unwrap();
        let document = export.args.document(&known, "Patient/1".to_owned(), &Labels::default()).unwrap();
        assert_eq!(document["sourceReference"]["reference"], "urn:uuid:5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a");
        assert_eq!(document["performer"][0]["reference"], "Patient/1");
        let mapping = Mapping::parse("member = \"a.example\"").unwrap();
        let read = translate(document.to_string().as_bytes(), &mapping).unwrap();
        assert_eq!((read.grant, read.widened.len()), (grant, 0));
    }

    #[test]
    fn what_fhir_cannot_say_is_an_error() {
        let silent = KnownConsent {
            id: ConsentId([1; 16]),
            state: pb::ConsentState::default(),
            grant: Grant::of_base(ConsentBase::Silent),
        };
        let line = "export 01010101010101010101010101010101 01010101010101010101010101010101 --patient-file p \
                    --organization Organization/7 --out c.json";
        let export = Export::try_parse_from(line.split_whitespace()).unwrap();
        let error = export.args.document(&silent, "Patient/1".to_owned(), &Labels::default()).unwrap_err();
        assert!(error.to_string().contains("base: says nothing of the rest"), "{error}");
    }
}
