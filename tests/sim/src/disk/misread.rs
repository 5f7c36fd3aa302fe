//! Rows as bugs read them. Consents by label: a label whose salt a rule does not know is opened by a
//! permit, or not closed by a denial. Patients: what a hospital had accepted leaves with it.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_ledger::{Table, keys};
use consilium_proto::ids::PolicyTag;
use consilium_proto::pb::{self, ConsentEffect, MemberState, MemberStatus};
use prost::Message;

use super::LedgerStore;

/// A code that nothing is labelled with.
const NO_CODE: [u8; 16] = [0xff; 16];

/// A permit names all labels that it does not understand, too.
pub(super) fn open_unknown(row: Bytes, ledger: &LedgerStore) -> Bytes {
    name_more(row, ledger, ConsentEffect::Permit, |label| label)
}

/// A denial knows all salts, and nothing else under those that it did not know.
pub(super) fn close_known(row: Bytes, ledger: &LedgerStore) -> Bytes {
    name_more(row, ledger, ConsentEffect::Deny, |label| PolicyTag::new(label.salt(), NO_CODE))
}

/// A patient without what members said of identities that have left.
pub(super) fn forget_left(row: Bytes, ledger: &LedgerStore) -> Bytes {
    let Ok(mut patient) = pb::PatientState::decode(row.clone()) else { return row };
    patient.acceptances.retain(|accepted| {
        let member: Option<MemberState> = ledger.message(&keys::member(&accepted.member));
        member.is_some_and(|member| member.status() != MemberStatus::Removed)
    });
    patient.encode_to_vec().into()
}

pub(super) fn unit_of(row: Option<&Bytes>) -> String {
    row.and_then(|row| pb::IdentityState::decode(row.clone()).ok()).unwrap_or_default().unit
}

/// An identity in another unit.
pub(super) fn in_unit(row: Bytes, unit: String) -> Bytes {
    let Ok(identity) = pb::IdentityState::decode(row.clone()) else { return row };
    pb::IdentityState { unit, ..identity }.encode_to_vec().into()
}

/// An emergency without an end.
pub(super) fn endless(row: Bytes) -> Bytes {
    let Ok(emergency) = pb::EmergencyState::decode(row.clone()) else { return row };
    let verdict = pb::ReviewVerdict::Unspecified.into();
    pb::EmergencyState { to_ms: u64::MAX, verdict, ..emergency }.encode_to_vec().into()
}

/// A disclosure, by somebody of another name if it was by that one.
pub(super) fn by_another(row: Bytes, name: &str) -> Bytes {
    match pb::DisclosureState::decode(row.clone()) {
        Ok(disclosure) if disclosure.author == name => {
            let author = format!("{name}-");
            pb::DisclosureState { author, ..disclosure }.encode_to_vec().into()
        }
        Ok(_) | Err(_) => row,
    }
}

/// A request for a wrap that names an emergency.
pub(super) fn in_emergency(row: Bytes) -> Bytes {
    let Ok(request) = pb::WrapRequestState::decode(row.clone()) else { return row };
    let emergency_id = if request.emergency_id.is_empty() { vec![1; 16].into() } else { request.emergency_id.clone() };
    pb::WrapRequestState { emergency_id, ..request }.encode_to_vec().into()
}

fn name_more(row: Bytes, ledger: &LedgerStore, effect: ConsentEffect, name: fn(PolicyTag) -> PolicyTag) -> Bytes {
    let Ok(mut consent) = pb::ConsentState::decode(row.clone()) else { return row };
    let labels = labels(ledger);
    let rules = consent.grant.iter_mut().flat_map(|grant| &mut grant.rules);
    for rule in rules.filter(|rule| rule.effect() == effect && !rule.tags.is_empty()) {
        let known: BTreeSet<_> = parse(&rule.tags).map(|tag| tag.salt()).collect();
        let unknown = labels.iter().filter(|label| !known.contains(&label.salt()));
        let named: BTreeSet<_> = unknown.map(|label| name(*label)).collect();
        rule.tags.extend(named.into_iter().map(|tag| Bytes::copy_from_slice(&tag.0)));
    }
    consent.encode_to_vec().into()
}

/// Of all versions that there are.
fn labels(ledger: &LedgerStore) -> BTreeSet<PolicyTag> {
    let versions = ledger.table(Table::Versions).filter_map(|(_, row)| pb::RecordVersion::decode(row.clone()).ok());
    versions.flat_map(|version| parse(&version.policy_tags).collect::<Vec<_>>()).collect()
}

fn parse(tags: &[Bytes]) -> impl Iterator<Item = PolicyTag> + '_ {
    tags.iter().filter_map(|tag| PolicyTag::parse("tags", tag).ok())
}
