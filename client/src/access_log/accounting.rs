//! Accounting of disclosures as 45 CFR 164.528 asks for it: what of a log a hospital must tell a
//! patient of whom it has given records to, and why the rest need not be told.
//!
//! The law is about one covered entity, here a member, and about what leaves it. A *use* by its
//! own staff is none. Left out are, too, what was for treatment, payment and operations, and what
//! was shown to the patient or who stands for it. What the ledger cannot know stays in: whether a
//! consent is an authorization in the sense of 164.508 is for the privacy officer to say.

use consilium_proto::access::permits;
use consilium_proto::ids::TimeMs;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{AccessGround, PurposeOfUse};
use consilium_proto::purpose;

use super::{AccessEvent, Decision};

/// How far back the law reaches, milliseconds: six years.
pub const ACCOUNTING_MS: u64 = (6 * 365 + 2) * 24 * 3_600_000;

/// Below operations in HL7's tree, and yet to be told: what the law or a legal matter asks for,
/// decedents, organs, the military (164.512).
const TOLD: [PurposeOfUse; 6] = [
    PurposeOfUse::Gov,
    PurposeOfUse::Hlegal,
    PurposeOfUse::Fraud,
    PurposeOfUse::Hdecd,
    PurposeOfUse::Donat,
    PurposeOfUse::Milcdm,
];

/// Something that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disclosure<'a> {
    /// By which request.
    pub event: &'a AccessEvent,
    /// What was permitted.
    pub decision: &'a Decision,
    /// Why it need not be told; `None`: it must be.
    pub left_out: Option<LeftOut>,
}

/// Why something need not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// The member's own people: a use, and no disclosure.
    OwnStaff,
    /// To the patient, or who stands for it.
    ToPatient,
    /// Treatment, payment or operations.
    Operations,
}

/// What was given out by a member between two times, `until` not included; in the order of the log.
/// What a law keeps from the patient beyond `until` is in no account before (164.528(a)(2)).
pub fn disclosures<'a>(
    events: &'a [AccessEvent],
    member: &'a MemberId,
    since: TimeMs,
    until: TimeMs,
) -> impl Iterator<Item = Disclosure<'a>> {
    let within = events.iter().filter(move |event| since <= event.time && event.time < until);
    let within = within.filter(move |event| event.sealed_until.is_none_or(|end| end <= until));
    within.flat_map(move |event| {
        let permitted = event.decisions.iter().filter(|decision| permits(decision.ground));
        permitted.map(move |decision| Disclosure { event, decision, left_out: left_out(event, decision, member) })
    })
}

fn left_out(event: &AccessEvent, decision: &Decision, member: &MemberId) -> Option<LeftOut> {
    match decision.ground {
        _ if event.disclosed.is_some() => None,
        AccessGround::Patient | AccessGround::Representative => Some(LeftOut::ToPatient),
        _ if event.reader.member() == member => Some(LeftOut::OwnStaff),
        _ if is_operations(event.purpose) => Some(LeftOut::Operations),
        _ => None,
    }
}

/// Treatment (emergencies are no other), payment, or operations.
fn is_operations(asked: PurposeOfUse) -> bool {
    let among = |said| purpose::covers(said, asked);
    let treats = purpose::is_emergency(asked) || among(PurposeOfUse::Treat);
    treats || ((among(PurposeOfUse::Hpaymt) || among(PurposeOfUse::Hoperat)) && !TOLD.contains(&asked))
}

#[cfg(test)]
mod tests;
