//! A Consent as a whole: what must be there, its policy, its root provision in either
//! dialect, and the provisions in it.
//!
//! The root decides the base of the grant:
//!
//! | root provision | base | rules of the root |
//! |---|---|---|
//! | none, or a permit without conditions | the policy's | none |
//! | a permit with conditions | break-glass-only: nothing else is permitted | a permit, within what the policy permits |
//! | a denial | deny if the policy is that, else break-glass-only | a denial if it has conditions |
//! | without a type (R4) | the policy's | none: its conditions are read in two ways |
//! | any, in a consent to research | silent: it speaks of nothing else | as above |
//!
//! A permit within a typed root has the root's conditions where it has none of its own ("restrictions
//! at the root apply to the whole Consent", IHE PCF); a denial has only its own, which denies more.

use consilium_proto::consent::{Grant, Period, Rule};
use consilium_proto::pb::{self, Confidentiality, ConsentBase, ConsentEffect, PurposeOfUse};
use consilium_proto::purpose;

use super::conditions::{Conditions, ELEMENTS, Labels, Purposes, RESTRICTING};
use super::node::Node;
use super::period::{self, Periods};
use super::policy::{self, Policy};
use super::systems::SCOPE;
use super::{ConsentProblem, Gap, Mapping, Problem, Status, Translation, Widening, rules};
use crate::fhir::{FhirProblem, Reference};

/// Elements of a Consent that can be read or do not matter. `implicitRules` and
/// `modifierExtension` change the meaning, and are not here.
const ROOT_ELEMENTS: [&str; 20] = [
    "resourceType",
    "id",
    "meta",
    "language",
    "text",
    "contained",
    "extension",
    "identifier",
    "status",
    "scope",
    "category",
    "patient",
    "dateTime",
    "performer",
    "organization",
    "sourceAttachment",
    "sourceReference",
    "policy",
    "policyRule",
    "provision",
];
/// PCF has none.
const VERIFICATION: &str = "verification";

/// What a base of PCF permits ordinarily: treatment, payment and operations.
const ORDINARY: [PurposeOfUse; 3] = [PurposeOfUse::Treat, PurposeOfUse::Hpaymt, PurposeOfUse::Hoperat];

pub(super) fn translate(consent: &Node<'_>, mapping: &Mapping<'_>) -> Result<Translation, ConsentProblem> {
    consent.only(&[ROOT_ELEMENTS.as_slice(), &[VERIFICATION]].concat())?;
    let status = status(&consent.need("status")?)?;
    let research = is_research(&consent.need("scope")?)?;
    consent.list("category")?.iter().try_for_each(|category| category.codings().map(|_| ()))?;
    verified(consent)?;
    let mut out = Translation {
        grant: Grant::of_base(ConsentBase::BreakGlassOnly),
        status,
        patient_reference: patient(&consent.need("patient")?, mapping)?,
        performers: parties(consent, "performer", mapping)?,
        organizations: parties(consent, "organization", mapping)?,
        policies: Vec::new(),
        date_time_ms: consent.get("dateTime")?.map(|node| period::moment(&node)).transpose()?,
        widened: Vec::new(),
    };
    if status == Status::Ended {
        // What it granted does not matter any more, and must not stand in the way of its end.
        return Ok(out);
    }
    let policy = policy::read(consent, mapping)?;
    let mut reader = Reader { mapping, policy, research, widened: Vec::new(), rules: Vec::new() };
    let (base, period) = match consent.get("provision")? {
        Some(root) => reader.root(&root)?,
        None => (reader.affirmed(consent)?, Period::default()),
    };
    let base = if research { reader.about_research() } else { base };
    let grant = Grant { base, period, rules: reader.rules };
    let grant = Grant::parse(&pb::ConsentGrant::from(&grant));
    out.grant =
        grant.map_err(|e| ConsentProblem { path: "Consent.provision".to_owned(), problem: Problem::Grant(e) })?;
    out.policies = reader.policy.uris;
    out.widened = reader.widened;
    Ok(out)
}

fn status(node: &Node<'_>) -> Result<Status, ConsentProblem> {
    match node.text()? {
        "active" => Ok(Status::Active),
        "inactive" | "entered-in-error" => Ok(Status::Ended),
        _ => Err(node.problem(Problem::Status)),
    }
}

/// Of all scopes that it names, each must be ours, and they must agree.
fn is_research(node: &Node<'_>) -> Result<bool, ConsentProblem> {
    let mut research = None;
    for coding in node.codings()? {
        let this = match coding.coding()? {
            (SCOPE, "patient-privacy") => false,
            (SCOPE, "research") => true,
            (_, _) => return Err(coding.problem(Problem::Scope)),
        };
        if research.is_some_and(|research| research != this) {
            return Err(coding.problem(Problem::Scope));
        }
        research = Some(this);
    }
    research.ok_or_else(|| node.problem(Problem::Scope))
}

fn verified(consent: &Node<'_>) -> Result<(), ConsentProblem> {
    for item in consent.list(VERIFICATION)? {
        item.only(&["id", "verified", "verifiedWith", "verificationDate"])?;
        let node = item.need("verified")?;
        if !node.boolean()? {
            return Err(node.problem(Problem::NotVerified));
        }
    }
    Ok(())
}

fn patient(node: &Node<'_>, mapping: &Mapping<'_>) -> Result<String, ConsentProblem> {
    let kind = node.get_text("reference")?.and_then(|text| Reference::new(text).kind(mapping.home()));
    let kind = kind.or(node.get_text("type")?);
    let expected = FhirProblem::Type { expected: "a reference to a Patient" };
    if kind.is_some_and(|kind| kind != "Patient") {
        return Err(node.problem(Problem::Fhir { line: 1, problem: expected }));
    }
    party(node, mapping)?.ok_or_else(|| {
        node.problem(Problem::Fhir { line: 1, problem: FhirProblem::NoPatient { paths: vec!["patient"] } })
    })
}

fn parties(consent: &Node<'_>, element: &str, mapping: &Mapping<'_>) -> Result<Vec<String>, ConsentProblem> {
    let parties = consent.list(element)?.iter().map(|node| party(node, mapping)).collect::<Result<Vec<_>, _>>()?;
    Ok(parties.into_iter().flatten().collect())
}

/// Canonical form of a Reference that leads out of the document.
fn party(node: &Node<'_>, mapping: &Mapping<'_>) -> Result<Option<String>, ConsentProblem> {
    node.only(&["id", "reference", "type", "identifier", "display"])?;
    if let Some(text) = node.get_text("reference")?.filter(|text| !text.starts_with('#')) {
        return Ok(Some(mapping.canonical(text)));
    }
    let Some(identifier) = node.get("identifier")? else { return Ok(None) };
    let system = identifier.get_text("system")?.unwrap_or("");
    Ok(identifier.get_text("value")?.map(|value| format!("{system}|{value}")))
}

struct Reader<'a, 'm> {
    mapping: &'a Mapping<'m>,
    policy: Policy,
    research: bool,
    widened: Vec<Widening>,
    rules: Vec<Rule>,
}

/// What a provision inherits.
struct Outer {
    conditions: Conditions,
    /// Of permits; where the grant's own period does not say it.
    periods: Option<Periods>,
}

impl Reader<'_, '_> {
    /// The base and the period of the grant. Its rules are gathered here.
    fn root(&mut self, root: &Node<'_>) -> Result<(ConsentBase, Period), ConsentProblem> {
        root.only(&ELEMENTS)?;
        let periods = root.get("period")?.map(|node| period::periods(&node)).transpose()?;
        match root.get("type")? {
            None => self.untyped(root, periods),
            Some(node) => {
                let effect = effect(&node)?;
                let policy = policy::effect(self.policy.base);
                // A policy may be rejected by a denial; one that denies cannot permit, and a rule
                // that opts in or out has said it.
                let agrees = effect == policy || (effect == ConsentEffect::Deny && !self.policy.by_rule);
                if !agrees {
                    return Err(node.problem(Problem::Disagree));
                }
                let periods = periods.unwrap_or(Periods::ALWAYS);
                match effect {
                    ConsentEffect::Permit => self.permit(root, periods),
                    ConsentEffect::Deny | ConsentEffect::Unspecified => self.deny(root, periods),
                }
            }
        }
    }

    fn permit(&mut self, root: &Node<'_>, periods: Periods) -> Result<(ConsentBase, Period), ConsentProblem> {
        let conditions = Conditions::read(root, ConsentEffect::Permit, self.mapping, &mut self.widened)?;
        let narrow = narrow(root, &periods)?;
        if conditions.none() {
            let base = self.affirmed(root)?;
            self.nested(root, &Outer { conditions, periods: None })?;
            return Ok((base, narrow));
        }
        let conditions = self.bounded(root, conditions)?;
        let vague = Some(periods).filter(Periods::vague);
        self.add_permit(root, &conditions, vague.map_or_else(Period::default, |_| narrow))?;
        self.nested(root, &Outer { conditions, periods: vague })?;
        Ok((ConsentBase::BreakGlassOnly, periods.wide))
    }

    fn deny(&mut self, root: &Node<'_>, periods: Periods) -> Result<(ConsentBase, Period), ConsentProblem> {
        let conditions = Conditions::read(root, ConsentEffect::Deny, self.mapping, &mut self.widened)?;
        let mut restricts = false;
        for element in RESTRICTING {
            restricts |= root.get(element)?.is_some();
        }
        if restricts {
            // Also where all of them were dropped: a base would spare the custodian's own staff.
            self.rules.extend(rules::of(ConsentEffect::Deny, &conditions, Period::default()));
        }
        let before = self.rules.len();
        let vague = Some(periods).filter(Periods::vague);
        self.nested(root, &Outer { conditions: Conditions::default(), periods: vague })?;
        let permits = self.rules.iter().skip(before).any(|rule| rule.effect == ConsentEffect::Permit);
        if restricts && permits {
            self.widened.push(Widening { path: root.path().to_owned(), why: Gap::DenialWins });
        }
        let base = match self.policy.base {
            ConsentBase::Deny => ConsentBase::Deny,
            // To reject a policy says nothing of emergencies, which are forbidden only by name.
            ConsentBase::BasicNormal
            | ConsentBase::AllNormal
            | ConsentBase::BreakGlassOnly
            | ConsentBase::Silent
            | ConsentBase::Unspecified => ConsentBase::BreakGlassOnly,
        };
        Ok((base, periods.wide))
    }

    /// R4's own dialect. Its conditions are what is permitted to some, and an exception to others
    /// (HL7's examples `notThem` and `basic`).
    fn untyped(&mut self, root: &Node<'_>, periods: Option<Periods>) -> Result<(ConsentBase, Period), ConsentProblem> {
        let permits = policy::effect(self.policy.base) == ConsentEffect::Permit;
        for element in RESTRICTING {
            match root.get(element)? {
                Some(node) if permits => return Err(node.gap(Gap::UntypedRoot)),
                Some(node) => {
                    self.widened.push(Widening { path: node.path().to_owned(), why: Gap::UntypedRoot });
                }
                None => {}
            }
        }
        if let Some(node) = root.get("period")? {
            self.widened.push(Widening { path: node.path().to_owned(), why: Gap::PeriodOfForce });
        }
        let (base, period, periods) = match (permits, periods) {
            (true, Some(periods)) => (self.affirmed(root)?, narrow(root, &periods)?, None),
            (true, None) => (self.affirmed(root)?, Period::default(), None),
            // It denies at all times; what it permits, it permits in its period.
            (false, periods) => (self.policy.base, Period::default(), periods),
        };
        self.nested(root, &Outer { conditions: Conditions::default(), periods })?;
        Ok((base, period))
    }

    /// The base of a consent to research, which speaks of nothing else. One that permits nothing
    /// refuses research; what is not permitted needs no rule.
    fn about_research(&mut self) -> ConsentBase {
        let refusal = refusal_of_research();
        if self.rules.iter().all(|rule| rule.effect == ConsentEffect::Deny) && !self.rules.contains(&refusal) {
            self.rules.push(refusal);
        }
        ConsentBase::Silent
    }

    /// The policy's base, as it stands. One that permits treatment is no consent to research.
    fn affirmed(&self, at: &Node<'_>) -> Result<ConsentBase, ConsentProblem> {
        match self.research && policy::effect(self.policy.base) == ConsentEffect::Permit {
            true => Err(at.problem(Problem::NotResearch)),
            false => Ok(self.policy.base),
        }
    }

    /// A permit of the root, within what its policy permits.
    fn bounded(&self, root: &Node<'_>, mut conditions: Conditions) -> Result<Conditions, ConsentProblem> {
        let disagree = |element: &str| root.need(element).map_or_else(|e| e, |node| node.problem(Problem::Disagree));
        let purposes =
            conditions.purposes.get_or_insert_with(|| Purposes { known: ORDINARY.to_vec(), ..Purposes::default() });
        if self.policy.base != ConsentBase::BasicNormal {
            return Ok(conditions);
        }
        let ordinary = |asked: &PurposeOfUse| ORDINARY.iter().any(|said| purpose::covers(*said, *asked));
        if !purposes.projects.is_empty() || !purposes.known.iter().all(ordinary) {
            return Err(disagree("purpose"));
        }
        let labels = conditions.labels.get_or_insert_with(Labels::default);
        match labels.ceiling {
            Some(ceiling) if ceiling > Confidentiality::Normal => Err(disagree("securityLabel")),
            Some(_) => Ok(conditions),
            None => {
                labels.ceiling = Some(Confidentiality::Normal);
                Ok(conditions)
            }
        }
    }

    fn nested(&mut self, root: &Node<'_>, outer: &Outer) -> Result<(), ConsentProblem> {
        for provision in root.list("provision")? {
            provision.only(&ELEMENTS)?;
            if let Some(node) = provision.get("provision")? {
                return Err(node.problem(Problem::TooDeep));
            }
            let effect = effect(&provision.need("type")?)?;
            let mut conditions = Conditions::read(&provision, effect, self.mapping, &mut self.widened)?;
            conditions.read_period(&provision, effect)?;
            let own = conditions.period.unwrap_or_default();
            match effect {
                ConsentEffect::Permit => {
                    let held = match &outer.periods {
                        Some(periods) => periods.narrow.and_then(|narrow| period::both(own, narrow)),
                        None => Some(own),
                    };
                    let held = held.ok_or_else(|| provision.gap(Gap::EmptyPeriod))?;
                    self.add_permit(&provision, &conditions.within(&outer.conditions), held)?;
                }
                ConsentEffect::Deny | ConsentEffect::Unspecified => {
                    self.rules.extend(rules::of(ConsentEffect::Deny, &conditions, own));
                }
            }
        }
        Ok(())
    }

    fn add_permit(&mut self, at: &Node<'_>, conditions: &Conditions, period: Period) -> Result<(), ConsentProblem> {
        if self.research {
            let of_research = |purpose: &PurposeOfUse| purpose::covers(PurposeOfUse::Hresch, *purpose);
            let named = conditions.purposes.as_ref().is_some_and(|purposes| purposes.known.iter().all(of_research));
            if !named {
                return Err(at.problem(Problem::NotResearch));
            }
        }
        if conditions.two_kinds_of_tags() {
            return Err(at.gap(Gap::LabelsAndEncounter));
        }
        self.rules.extend(rules::of(ConsentEffect::Permit, conditions, period));
        Ok(())
    }
}

/// No research.
pub(super) fn refusal_of_research() -> Rule {
    Rule { purposes: vec![PurposeOfUse::Hresch], ..Rule::of_effect(ConsentEffect::Deny) }
}

/// Whether a permit is about research alone, as those of a consent to research must be.
pub(super) fn is_of_research(purposes: &[PurposeOfUse]) -> bool {
    !purposes.is_empty() && purposes.iter().all(|purpose| purpose::covers(PurposeOfUse::Hresch, *purpose))
}

fn narrow(root: &Node<'_>, periods: &Periods) -> Result<Period, ConsentProblem> {
    match periods.narrow {
        Some(narrow) => Ok(narrow),
        None => Err(root.need("period")?.gap(Gap::EmptyPeriod)),
    }
}

fn effect(node: &Node<'_>) -> Result<ConsentEffect, ConsentProblem> {
    match node.text()? {
        "permit" => Ok(ConsentEffect::Permit),
        "deny" => Ok(ConsentEffect::Deny),
        _ => Err(node.problem(Problem::Fhir { line: 1, problem: FhirProblem::Type { expected: "permit or deny" } })),
    }
}
