//! Patients: registered under random pseudonyms, found by look-ups; who speaks for them, which
//! pseudonyms are one person's, and who cares for them. The row commits to the look-ups by hash
//! alone, so that nothing here depends on what is erased.
//!
//! What a member says here counts for the records of which it is the custodian, its own and those
//! of members that have left and that it keeps; and each member has room of its own, so that none
//! can use up another's.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::limits::{ACCEPTANCES_MAX, CARE_AHEAD_MAX_MS, LINKED_MAX, LOOKUPS_MAX, PAST_LINKS_MAX};
use consilium_proto::pb::{
    CareState, ConsentListState, Outcome, PatientAcceptance, PatientDeath, PatientLink, PatientLookup, PatientRelation,
    PatientState,
};
use consilium_proto::state::CareName;
use consilium_proto::transaction::{
    AcceptPatient, AttestCare, AttestDeath, PatientAction, PatientLookups, PatientPair,
};

use super::{Author, Context, changes, salts};
use crate::custody::{self, Kept};
use crate::keys;
use crate::missing::lookup_row;
use crate::rights::{is_known, load_patient, same_person};
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &PatientAction,
) -> Result<(), Refusal> {
    author.ensure_registrar()?;
    perform(view, cx, author, action)?;
    Ok(action
        .changes()
        .into_iter()
        .try_for_each(|(patient, change)| changes::note_said(view, cx, author, &patient, change))?)
}

fn perform<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &PatientAction,
) -> Result<(), Refusal> {
    match action {
        PatientAction::Register(lookups) => {
            // Nor one of which there are records: these may lack what a patient's must have.
            ensure(!is_known(view, &lookups.patient)?, Outcome::PatientExists)?;
            let member = author.member().to_owned();
            custody::count_patient(view, &member)?;
            let state = PatientState { member, registered_height: cx.height.0, ..PatientState::default() };
            add(view, cx, author, state, lookups)
        }
        PatientAction::AddLookups(lookups) => {
            let state = registered(view, &lookups.patient)?;
            add(view, cx, author, state, lookups)
        }
        PatientAction::Accept(acceptance) => accept(view, cx, author, acceptance),
        PatientAction::Link { pair, evidence } => link(view, cx, author, *pair, evidence),
        PatientAction::Unlink(pair) => unlink(view, cx, author, *pair),
        PatientAction::AttestCare(care) => attest_care(view, cx, author, care),
        PatientAction::AttestDeath(death) => attest_death(view, cx, author, death),
        PatientAction::PutSalt(salt) => salts::put(view, cx, author, salt),
    }
}

pub(super) fn registered<R: StateReader>(
    view: &View<'_, R>,
    patient: &PatientPseudonym,
) -> Result<PatientState, Refusal> {
    load_patient(view, patient)?.ok_or(Refusal::Rejected(Outcome::PatientNotFound))
}

fn add<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    mut state: PatientState,
    PatientLookups { patient, lookups }: &PatientLookups,
) -> Result<(), Refusal> {
    let own = state.lookups.iter().filter(|lookup| lookup.member == author.member()).count();
    ensure(own + lookups.len() <= LOOKUPS_MAX, Outcome::TooManyLookups)?;
    for hash in lookups {
        let sha256 = hash.to_bytes();
        ensure(state.lookups.iter().all(|lookup| lookup.sha256 != sha256), Outcome::LookupExists)?;
        state.lookups.push(PatientLookup { sha256, member: author.member().to_owned(), height: cx.height.0 });
        put_index(view, cx, patient, hash)?;
    }
    view.put_message(Table::State, keys::patient(patient), &state);
    Ok(())
}

/// What a node lacks of it, it finds less by.
fn put_index<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    patient: &PatientPseudonym,
    hash: &Hash,
) -> Result<(), StoreFault> {
    let content = view.get(Table::Lookups, &keys::lookup(patient, hash))?.unwrap_or_default();
    lookup_row(&content, patient, cx.height).into_iter().for_each(|row| view.put_row(row));
    Ok(())
}

/// What the member said of the identity before is replaced.
fn accept<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    accepted: &AcceptPatient,
) -> Result<(), Refusal> {
    let mut state = registered(view, &accepted.patient)?;
    let kept = Kept::over(view)?;
    let died = state.deaths.iter().any(|death| kept.keeps(author.member(), &death.member));
    let executor = accepted.relation == PatientRelation::Executor;
    ensure(died || !executor || accepted.withdrawn, Outcome::NotDeceased)?;
    ensure(accepted.to.0 == 0 || accepted.to > cx.time || accepted.withdrawn, Outcome::TimeRefused)?;
    let acceptance = PatientAcceptance {
        member: author.member().to_owned(),
        identity: accepted.identity.to_string(),
        relation: accepted.relation.into(),
        may_read: accepted.may_read,
        may_consent: accepted.may_consent,
        to_ms: accepted.to.0,
        evidence_sha256: accepted.evidence.to_bytes(),
        withdrawn: accepted.withdrawn,
        height: cx.height.0,
        scope: accepted.scope.clone(),
    };
    let named = |a: &PatientAcceptance| (a.member.clone(), a.identity.clone());
    match state.acceptances.binary_search_by_key(&named(&acceptance), named) {
        Ok(place) => state.acceptances[place] = acceptance,
        Err(_) => {
            make_room(view, cx, (&kept, &accepted.patient), (&mut state, &acceptance.member))?;
            let place =
                state.acceptances.binary_search_by_key(&named(&acceptance), named).unwrap_or_else(|place| place);
            state.acceptances.insert(place, acceptance);
        }
    }
    view.put_message(Table::State, keys::patient(&accepted.patient), &state);
    Ok(())
}

/// Drops what a member has said of identities that speak no more, if it has said as much as it may.
/// What it has withdrawn stays where it takes back what was said before it, of records that it
/// keeps; and what has ended, where consents were signed before.
fn make_room<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    (kept, patient): (&Kept, &PatientPseudonym),
    (state, member): (&mut PatientState, &str),
) -> Result<(), Refusal> {
    let own = |state: &PatientState| state.acceptances.iter().filter(|a| a.member == member).count();
    if own(state) < ACCEPTANCES_MAX {
        return Ok(());
    }
    let list: Option<ConsentListState> = view.message(Table::State, &keys::consent_list(patient))?;
    let signed: BTreeSet<_> = list.unwrap_or_default().consents.into_iter().map(|entry| entry.author).collect();
    let of_others = state.acceptances.iter().filter(|a| a.member != member && kept.keeps(member, &a.member));
    let replaced: BTreeSet<_> = of_others.map(|a| a.identity.clone()).collect();
    state.acceptances.retain(|a| {
        let ended = a.to_ms != 0 && a.to_ms <= cx.time.0;
        let speaks = if a.withdrawn { false } else { !ended || signed.contains(&a.identity) };
        a.member != member || speaks || replaced.contains(&a.identity)
    });
    ensure(own(state) < ACCEPTANCES_MAX, Outcome::TooManyOfPatient)
}

/// Links each with each, so that one step leads from any to all, whichever of them is asked about.
fn link<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    pair: PatientPair,
    evidence: &Hash,
) -> Result<(), Refusal> {
    let mut same = group(view, author, &pair.patient)?;
    same.append(&mut group(view, author, &pair.other)?);
    ensure(same.len() <= LINKED_MAX, Outcome::TooManyOfPatient)?;
    let mut linked = 0;
    for patient in &same {
        let mut state = registered(view, patient)?;
        let is_linked = |link: &PatientLink, other: &PatientPseudonym| {
            link.member == author.member() && link.to_height == 0 && link.other == other.0[..]
        };
        let others = same.iter().filter(|other| *other != patient);
        let lacking: Vec<_> = others.filter(|other| !state.links.iter().any(|link| is_linked(link, other))).collect();
        linked += lacking.len();
        state.links.extend(lacking.into_iter().map(|other| PatientLink {
            other: Bytes::copy_from_slice(&other.0),
            member: author.member().to_owned(),
            evidence_sha256: evidence.to_bytes(),
            from_height: cx.height.0,
            to_height: 0,
        }));
        view.put_message(Table::State, keys::patient(patient), &state);
    }
    ensure(linked > 0, Outcome::LinkConflict)
}

/// The pseudonyms that the author's member, and those whose records it keeps, take for one person's.
fn group<R: StateReader>(
    view: &View<'_, R>,
    author: &Author,
    patient: &PatientPseudonym,
) -> Result<BTreeSet<PatientPseudonym>, Refusal> {
    registered(view, patient)?;
    let kept = Kept::over(view)?;
    let says = |member: &str| kept.keeps(author.member(), member);
    let same = same_person(view, *patient, (says, LINKED_MAX))?;
    same.ok_or(Refusal::Rejected(Outcome::TooManyOfPatient))
}

/// A link that was stays in the row, the last ones of each member: what was read and written meanwhile
/// is found by it. Whoever keeps records of members that have left ends their links with its own.
fn unlink<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    pair: PatientPair,
) -> Result<(), Refusal> {
    let mut same = group(view, author, &pair.patient)?;
    ensure(same.remove(&pair.other), Outcome::LinkConflict)?;
    let kept = Kept::over(view)?;
    for patient in same.iter().chain([&pair.other]) {
        let mut state = registered(view, patient)?;
        // The one that leaves loses all of its links, the others theirs with it.
        let parts = |other: &[u8]| match *patient == pair.other {
            true => same.iter().any(|same| same.0[..] == *other),
            false => *other == pair.other.0[..],
        };
        let open = |link: &&mut PatientLink| {
            link.to_height == 0 && parts(&link.other) && kept.keeps(author.member(), &link.member)
        };
        state.links.iter_mut().filter(open).for_each(|link| link.to_height = cx.height.0);
        forget_links(&mut state);
        view.put_message(Table::State, keys::patient(patient), &state);
    }
    Ok(())
}

/// Of each member the last links that it has taken back are kept: the blocks tell of all.
fn forget_links(state: &mut PatientState) {
    let mut past: BTreeMap<String, usize> = BTreeMap::new();
    for link in state.links.iter().filter(|link| link.to_height != 0) {
        *past.entry(link.member.clone()).or_default() += 1;
    }
    state.links.retain(|link| {
        let Some(left) = past.get_mut(&link.member).filter(|_| link.to_height != 0) else { return true };
        let drops = *left > PAST_LINKS_MAX;
        *left -= usize::from(drops);
        !drops
    });
}

/// What a member says of it counts for its own records, and is replaced by what it says later. What
/// it takes back, members that have left, and whose records it keeps, have not said either.
fn attest_death<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    death: &AttestDeath,
) -> Result<(), Refusal> {
    let mut state = registered(view, &death.patient)?;
    if death.withdrawn {
        let (kept, said) = (Kept::over(view)?, state.deaths.len());
        state.deaths.retain(|death| !kept.keeps(author.member(), &death.member));
        ensure(state.deaths.len() < said, Outcome::NotDeceased)?;
    } else {
        let described = describe_death(cx, author, death);
        match state.deaths.binary_search_by(|death| death.member.as_str().cmp(author.member())) {
            // What was signed between what it said first and now stays what it was.
            Ok(place) => state.deaths[place].evidence_sha256 = described.evidence_sha256,
            Err(place) => state.deaths.insert(place, described),
        }
    }
    view.put_message(Table::State, keys::patient(&death.patient), &state);
    Ok(())
}

fn describe_death(cx: &Context<'_>, author: &Author, death: &AttestDeath) -> PatientDeath {
    let evidence_sha256 = death.evidence.to_bytes();
    PatientDeath { member: author.member().to_owned(), evidence_sha256, height: cx.height.0 }
}

fn attest_care<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    care: &AttestCare,
) -> Result<(), Refusal> {
    ensure(is_known(view, &care.patient)?, Outcome::PatientNotFound)?;
    ensure(care.to.0 <= cx.time.0.saturating_add(CARE_AHEAD_MAX_MS), Outcome::TimeRefused)?;
    let place = keys::care(&CareName::new(care.patient, author.member()));
    let before: CareState = view.message(Table::State, &place)?.unwrap_or_default();
    let author = author.id.to_string();
    // Who says again what somebody else has said must not lose what that one has opened to it.
    let (other_author, other_to_ms) = match before.author == author {
        true => (before.other_author, before.other_to_ms),
        false => (before.author, before.to_ms),
    };
    let state = CareState {
        to_ms: care.to.0,
        evidence_sha256: care.evidence.to_bytes(),
        author,
        height: cx.height.0,
        other_author,
        other_to_ms: other_to_ms.min(care.to.0),
    };
    view.put_message(Table::State, place, &state);
    Ok(())
}
