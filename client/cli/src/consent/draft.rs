//! From arguments, or a FHIR Consent, to the grant that is signed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use consilium_client::clock::now_ms;
use consilium_client::fhir::consent::{Mapping, Status, translate};
use consilium_client::labels::Labels;
use consilium_client::{ClientError, files};
use consilium_proto::consent::{Grant, Grantee, Period, Rule};
use consilium_proto::ids::{ConsentId, PatientPseudonym, TimeMs};
use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::pb::{Confidentiality, ConsentBase, ConsentEffect, PurposeOfUse};

use crate::CliError;
use crate::confirm::Consent;
use crate::named::Unknown;
use crate::when::{When, when};
use crate::words::{parse_level, parse_purpose};

/// Arguments of `consent put`.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// A FHIR R4 Consent, JSON
    #[arg(long, value_name = "FILE", requires = "mapping")]
    pub(crate) fhir: Option<PathBuf>,
    /// Whom and what the names in it mean (docs/consents.md)
    #[arg(long, value_name = "FILE", requires = "fhir")]
    pub(crate) mapping: Option<PathBuf>,
    /// What holds where no rule matches
    #[arg(long, value_enum, required_unless_present = "fhir", conflicts_with = "fhir")]
    pub(crate) base: Option<Base>,
    /// Let a member, role@member or SPIFFE id read; may be repeated
    #[arg(long, value_name = "WHO", value_parser = grantee, conflicts_with = "fhir")]
    pub(crate) share_with: Vec<Grantee>,
    /// Forbid it to them; wins over what is shared; may be repeated
    #[arg(long, value_name = "WHO", value_parser = grantee, conflicts_with = "fhir")]
    pub(crate) deny: Vec<Grantee>,
    /// What for, such as TREAT; may be repeated [default: for anything]
    #[arg(long, value_name = "CODE", value_parser = parse_purpose, conflicts_with = "fhir")]
    pub(crate) purpose: Vec<PurposeOfUse>,
    /// Only records of this kind, such as Observation; may be repeated [default: all]
    #[arg(long, value_name = "KIND", conflicts_with = "fhir")]
    pub(crate) kind: Vec<String>,
    /// Share only up to this confidentiality: U, L, M, N, R or V
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, conflicts_with = "fhir", requires = "share_with")]
    pub(crate) up_to: Option<Confidentiality>,
    /// From when, as 2026-11-21T22:00:00Z or +30d [default: at once]
    #[arg(long, value_name = "TIME", value_parser = when, conflicts_with = "fhir")]
    pub(crate) from: Option<When>,
    /// When it ends [default: never]
    #[arg(long, value_name = "TIME", value_parser = when, conflicts_with = "fhir")]
    pub(crate) until: Option<When>,
    /// Scan of what was signed. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) paper: Option<PathBuf>,
    /// The consent in whose place it comes
    #[arg(long, value_name = "CONSENT")]
    pub(crate) replaces: Option<ConsentId>,
    /// Whether names may be in it that nobody bears yet.
    #[command(flatten)]
    pub(crate) unknown: Unknown,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) ask: Consent,
}

/// What holds where no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Base {
    /// Treatment, payment and operations may read what is at most normal
    BasicNormal,
    /// Treatment, payment and operations may read everything
    AllNormal,
    /// Nobody else, but in emergencies
    BreakGlassOnly,
    /// Nobody else
    Deny,
    /// Nothing is said of the rest, which other consents decide; for a consent to research
    Silent,
}

impl From<Base> for ConsentBase {
    fn from(base: Base) -> Self {
        match base {
            Base::BasicNormal => Self::BasicNormal,
            Base::AllNormal => Self::AllNormal,
            Base::BreakGlassOnly => Self::BreakGlassOnly,
            Base::Deny => Self::Deny,
            Base::Silent => Self::Silent,
        }
    }
}

/// What is to be said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) grant: Grant,
    /// Where it denies more than the document.
    pub(super) widened: Vec<String>,
    /// Whose the document is; `None`: there is none.
    pub(super) patient_reference: Option<String>,
}

impl PutArgs {
    /// Whether the document names sensitivity labels.
    pub(super) fn names_labels(&self) -> Result<bool, CliError> {
        let (Some(fhir), Some(mapping)) = (&self.fhir, &self.mapping) else { return Ok(false) };
        let asked = AtomicBool::new(false);
        let text = files::read_text(mapping)?;
        let mapping = Mapping::parse(&text).map_err(|e| ClientError::file(mapping, e))?;
        let mapping = mapping.with_labels(|_| {
            asked.store(true, Ordering::Relaxed);
            Vec::new()
        });
        // What is wrong with it is told when it is translated in earnest.
        let _ = translate(&files::read(fhir, files::SMALL_FILE_BYTES_MAX)?, &mapping);
        drop(mapping);
        Ok(asked.load(Ordering::Relaxed))
    }

    /// `labels` are the salts of the patient that are kept: a sensitivity label that a document names
    /// is blinded under each.
    pub(super) fn said(&self, labels: &Labels) -> Result<Said, CliError> {
        match (&self.fhir, &self.mapping, self.base) {
            (Some(fhir), Some(mapping), _) => translated(fhir, mapping, labels),
            (_, _, Some(base)) => {
                let grant = self.grant(base.into(), now_ms())?;
                Ok(Said { grant, widened: Vec::new(), patient_reference: None })
            }
            (_, _, None) => Err(CliError::usage("neither --base nor --fhir with --mapping")),
        }
    }

    fn grant(&self, base: ConsentBase, now_ms: u64) -> Result<Grant, CliError> {
        if self.share_with.is_empty() && self.deny.is_empty() && !(self.purpose.is_empty() && self.kind.is_empty()) {
            return Err(CliError::usage("--purpose and --kind narrow --share-with or --deny, and neither is there"));
        }
        let rule = |effect, grantees: &[Grantee], ceiling| Rule {
            grantees: grantees.to_vec(),
            purposes: self.purpose.clone(),
            kinds: self.kind.clone(),
            ceiling,
            ..Rule::of_effect(effect)
        };
        let permit = (!self.share_with.is_empty()).then(|| rule(ConsentEffect::Permit, &self.share_with, self.up_to));
        let deny = (!self.deny.is_empty()).then(|| rule(ConsentEffect::Deny, &self.deny, None));
        let time = |at: Option<When>| TimeMs(at.map_or(0, |at| at.resolve(now_ms)));
        let period = Period { from: time(self.from), to: time(self.until) };
        let grant = Grant { base, period, rules: permit.into_iter().chain(deny).collect() };
        Ok(Grant::parse(&(&grant).into()).map_err(ClientError::from)?)
    }
}

fn translated(fhir: &Path, mapping: &Path, labels: &Labels) -> Result<Said, CliError> {
    let text = files::read_text(mapping)?;
    let mapping = Mapping::parse(&text).map_err(|e| ClientError::file(mapping, e))?;
    let mapping = mapping.with_labels(|code| labels.tags(code));
    let document = files::read(fhir, files::SMALL_FILE_BYTES_MAX)?;
    let translation = translate(&document, &mapping).map_err(|e| ClientError::file(fhir, e))?;
    if translation.status == Status::Ended {
        let ended = CliError::failed("the document says that the consent has ended: there is nothing to put");
        return Err(ended.hint("run `consilium consent list`, and `consent revoke` with the one that it ends"));
    }
    Ok(Said {
        grant: translation.grant,
        widened: translation.widened.iter().map(ToString::to_string).collect(),
        patient_reference: Some(translation.patient_reference),
    })
}

/// A member, `role@member`, or a SPIFFE id.
pub(super) fn grantee(text: &str) -> Result<Grantee, String> {
    let found = if let Ok(id) = text.parse::<SpiffeId>() {
        Some(Grantee::Identity(id))
    } else if let Some((role, member)) = text.split_once('@') {
        role.parse::<Role>().ok().zip(member.parse().ok()).map(|(role, member)| Grantee::Role(member, role))
    } else {
        text.parse::<MemberId>().ok().map(Grantee::Member)
    };
    found.ok_or_else(|| format!("{text:?} is no member, role@member or SPIFFE id"))
}

/// The same, back.
pub(super) fn grantee_code(grantee: &Grantee) -> String {
    match grantee {
        Grantee::Identity(id) => id.to_string(),
        Grantee::Role(member, role) => format!("{role}@{member}"),
        Grantee::Member(member) => member.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Put {
        #[command(flatten)]
        args: PutArgs,
    }

    fn grant(line: &str) -> Result<Grant, CliError> {
        let line = format!("put {} {line}", "01".repeat(16));
        let put = Put::try_parse_from(line.split_whitespace()).unwrap();
        put.args.grant(put.args.base.unwrap().into(), 1_000)
    }

    #[test]
    fn the_simple_cases_are_said_by_arguments() {
        let shared =
            grant("--share-with b.example --purpose TREAT --base break-glass-only --up-to N --until +1s").unwrap();
        assert_eq!((shared.base, shared.period.to), (ConsentBase::BreakGlassOnly, TimeMs(2_000)));
        let [rule] = &shared.rules[..] else { panic!("{shared:?}") };
        assert_eq!((rule.effect, rule.ceiling), (ConsentEffect::Permit, Some(Confidentiality::Normal)));
        assert_eq!(
            (&rule.purposes[..], grantee_code(&rule.grantees[0])),
            (&[PurposeOfUse::Treat][..], "b.example".into())
        );
        let denied =
            grant("--base all-normal --deny spiffe://b.example/clinician/c1 --deny clinician@c.example").unwrap();
        let [rule] = &denied.rules[..] else { panic!("{denied:?}") };
        assert_eq!((rule.effect, rule.grantees.len(), rule.purposes.len()), (ConsentEffect::Deny, 2, 0));
        assert_eq!(grant("--base deny").unwrap(), Grant::of_base(ConsentBase::Deny));
    }

    const CONSENT: &str = r#"{"resourceType":"Consent","status":"active",
        "scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
        "category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],
        "patient":{"reference":"Patient/1"},"dateTime":"2026-09-01T00:00:00Z",
        "policy":[{"uri":"https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"}],
        "provision":{"type":"permit","provision":[{"type":"deny","dataPeriod":{"start":"2026-01-01T00:00:00Z"},
            "class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]}]}}"#;

    #[test]
    fn a_fhir_consent_is_translated_and_what_it_denies_more_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let (fhir, mapping) = (folder.path().join("c.json"), folder.path().join("m.toml"));
        std::fs::write(&mapping, "member = \"st-mary.example\"").unwrap();
        std::fs::write(&fhir, CONSENT).unwrap();
        let said = translated(&fhir, &mapping, &Labels::default()).unwrap();
        assert_eq!((said.grant.base, said.grant.rules.len()), (ConsentBase::BasicNormal, 1));
        assert_eq!(said.widened.len(), 1, "{:?}", said.widened);
        assert!(said.widened[0].starts_with("Consent.provision.provision[0].dataPeriod: "), "{:?}", said.widened);
        assert_eq!(said.patient_reference.as_deref(), Some("st-mary.example/Patient/1"));
        std::fs::write(&fhir, CONSENT.replace("\"active\"", "\"inactive\"")).unwrap();
        assert!(translated(&fhir, &mapping, &Labels::default()).is_err(), "one that has ended");
        std::fs::write(&mapping, "member = 1").unwrap();
        assert!(translated(&fhir, &mapping, &Labels::default()).is_err());
    }

    #[test]
    fn what_narrows_nothing_and_what_ends_before_it_begins_is_refused() {
        assert!(grant("--base deny --purpose TREAT").is_err());
        assert!(grant("--base deny --from +2s --until +1s").is_err());
    }
}
