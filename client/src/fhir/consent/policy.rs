//! What the policy of a Consent is as the base of a grant, and whether the parts of a
//! Consent that speak of it agree.

use consilium_proto::pb::{ConsentBase, ConsentEffect};

use super::node::Node;
use super::systems::ACT_CODE;
use super::{ConsentProblem, Mapping, Problem};

/// The overarching policies of IHE PCF, volume 1 §53.2.1.
const PCF: [(&str, ConsentBase); 4] = [
    ("https://profiles.ihe.net/ITI/PCF/Policy-basic-normal", ConsentBase::BasicNormal),
    ("https://profiles.ihe.net/ITI/PCF/Policy-all-normal", ConsentBase::AllNormal),
    ("https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only", ConsentBase::BreakGlassOnly),
    ("https://profiles.ihe.net/ITI/PCF/Policy-deny", ConsentBase::Deny),
];

/// The base of a policy's URI.
pub(super) fn of_uri(uri: &str) -> Option<ConsentBase> {
    PCF.into_iter().find(|(known, _)| *known == uri).map(|(_, base)| base)
}

/// The URI of a base; of one that says nothing, that of which a consent to research permits a part.
pub(super) fn uri(base: ConsentBase) -> Option<&'static str> {
    let base = if base == ConsentBase::Silent { ConsentBase::BreakGlassOnly } else { base };
    PCF.into_iter().find(|(_, known)| *known == base).map(|(uri, _)| uri)
}

/// The base of a word of the mapping file: the last part of the URI.
pub(super) fn of_word(word: &str) -> Option<ConsentBase> {
    of_uri(&format!("https://profiles.ihe.net/ITI/PCF/Policy-{word}"))
}

/// What a base does on the whole.
pub(super) const fn effect(base: ConsentBase) -> ConsentEffect {
    match base {
        ConsentBase::BasicNormal | ConsentBase::AllNormal => ConsentEffect::Permit,
        ConsentBase::BreakGlassOnly | ConsentBase::Deny | ConsentBase::Silent | ConsentBase::Unspecified => {
            ConsentEffect::Deny
        }
    }
}

/// The policy of a Consent.
pub(super) struct Policy {
    pub(super) base: ConsentBase,
    pub(super) uris: Vec<String>,
    /// The consent says by a `policyRule` whether it opts in or out.
    pub(super) by_rule: bool,
}

/// Reads `policy` and `policyRule`; R4 requires one of them (ppc-1).
pub(super) fn read(consent: &Node<'_>, mapping: &Mapping<'_>) -> Result<Policy, ConsentProblem> {
    let (mut base, mut uris): (Option<ConsentBase>, Vec<String>) = (None, Vec::new());
    for policy in consent.list("policy")? {
        policy.only(&["id", "authority", "uri"])?;
        let node = policy.need("uri")?;
        let uri = node.text()?;
        let this = mapping.policy(uri).ok_or_else(|| node.problem(Problem::UnknownPolicy))?;
        if base.is_some_and(|base| base != this) {
            return Err(node.problem(Problem::Disagree));
        }
        base = Some(this);
        uris.push(uri.to_owned());
    }
    let rule = consent.get("policyRule")?;
    let base = match (base, rule.as_ref().map(of_rule).transpose()?) {
        (Some(base), None) | (None, Some(base)) => base,
        (Some(base), Some(rule)) if effect(base) == effect(rule) => base,
        (Some(_), Some(_)) => return Err(consent.need("policyRule")?.problem(Problem::Disagree)),
        (None, None) => return Err(consent.problem(Problem::UnknownPolicy)),
    };
    Ok(Policy { base, uris, by_rule: rule.is_some() })
}

/// `OPTIN` says nothing of levels and purposes: the narrower of the permitting bases. `OPTOUT`
/// says nothing of emergencies: they are forbidden only by name.
fn of_rule(rule: &Node<'_>) -> Result<ConsentBase, ConsentProblem> {
    let mut base = None;
    for coding in rule.codings()? {
        let this = match coding.coding()? {
            (ACT_CODE, "OPTIN") => ConsentBase::BasicNormal,
            (ACT_CODE, "OPTOUT") => ConsentBase::BreakGlassOnly,
            (_, _) => return Err(coding.problem(Problem::UnknownPolicy)),
        };
        if base.is_some_and(|base| base != this) {
            return Err(coding.problem(Problem::Disagree));
        }
        base = Some(this);
    }
    base.ok_or_else(|| rule.problem(Problem::UnknownPolicy))
}
