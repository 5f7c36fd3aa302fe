#![allow(clippy::unwrap_used)]
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Epoch, HeaderHash, LedgerId, NodeId, TimeMs};
use consilium_proto::log::row_of;
use consilium_proto::merkle::{Frontier, leaf_hash as entry_hash, root_of};
use consilium_proto::names::SpiffeId;
use consilium_proto::state::keys;
use prost::Message;

use super::*;
use crate::error::Unverified;

mod patient;
mod state;
pub(crate) use state::State;

const PATIENT: PatientPseudonym = PatientPseudonym([7; 16]);
const READER: &str = "spiffe://b.example/clinician/c-1";

pub(crate) fn header(state_root: Hash) -> Header {
    let none = Hash::of(&[]);
    Header {
        ledger_id: LedgerId::from_bytes([4; 32]),
        height: Height(9),
        previous_hash: HeaderHash::from_bytes([0; 32]),
        time: TimeMs(1_000),
        epoch: Epoch(1),
        tree_size: 3,
        tree_root: none,
        state_root,
        validators_hash: none,
        next_validators_hash: none,
        proposer: NodeId(1),
        log_hash: none,
    }
}

fn event(sequence: u64) -> pb::AccessEvent {
    let decision = pb::AccessDecision { ground: pb::AccessGround::NoConsent.into(), ..Default::default() };
    pb::AccessEvent {
        sequence,
        transaction_id: vec![u8::try_from(sequence).unwrap(); 32].into(),
        reader: READER.into(),
        patient: Bytes::copy_from_slice(&PATIENT.0),
        purpose: pb::PurposeOfUse::Treat.into(),
        kind: pb::AccessKind::Query.into(),
        decisions: vec![decision],
        query_sha256: vec![1; 32].into(),
        time_ms: 1_000 + sequence,
        height: sequence + 1,
        ..Default::default()
    }
}

fn entries(count: u64) -> Vec<Bytes> {
    (0..count).map(|n| event(n).encode_to_vec().into()).collect()
}

pub(crate) fn tree(entries: &[Bytes]) -> Frontier {
    let mut tree = Frontier::new();
    entries.iter().for_each(|entry| drop(tree.append(entry_hash(entry)).unwrap()));
    tree
}

fn half(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn root(entries: &[Bytes]) -> Hash {
    root_of(entries.iter().map(|entry| entry_hash(entry))).unwrap()
}

/// SUBPROOF of RFC 9162, section 2.1.4.1.
pub(crate) fn consistency(known: usize, entries: &[Bytes], complete: bool) -> Vec<Bytes> {
    if known == entries.len() {
        return if complete { Vec::new() } else { vec![root(entries).to_bytes()] };
    }
    let (left, right) = entries.split_at(half(entries.len()));
    let (mut path, other) = match known <= left.len() {
        true => (consistency(known, left, complete), right),
        false => (consistency(known - left.len(), right, false), left),
    };
    path.push(root(other).to_bytes());
    path
}

/// PATH of RFC 9162, section 2.1.3.1.
pub(crate) fn inclusion(place: usize, entries: &[Bytes]) -> Vec<Bytes> {
    if entries.len() == 1 {
        return Vec::new();
    }
    let (left, right) = entries.split_at(half(entries.len()));
    let (mut path, other) = match place < left.len() {
        true => (inclusion(place, left), right),
        false => (inclusion(place - left.len(), right), left),
    };
    path.push(root(other).to_bytes());
    path
}

fn state_of(entries: &[Bytes]) -> State {
    let other = pb::LogState { count: 1, ..Default::default() };
    let state = State::default().with(keys::access_log(&PatientPseudonym([1; 16])), &other);
    if entries.is_empty() { state } else { state.with(keys::access_log(&PATIENT), &row_of(&tree(entries))) }
}

/// The answer of an honest node.
fn answer(entries: &[Bytes], from: usize, shown: usize) -> (pb::GetAccessLogResponse, Header) {
    let state = state_of(entries);
    let path = if from == 0 { Vec::new() } else { consistency(from, entries, true) };
    let events = entries[from..from + shown].to_vec();
    let log = Some(state.row(keys::access_log(&PATIENT)));
    (pb::GetAccessLogResponse { events, log, consistency_path: path, header: None, sealed: vec![] }, state.header())
}

pub(crate) fn fault<T: std::fmt::Debug>(result: Result<T, ClientError>) -> LogFault {
    match result {
        Err(ClientError::Verification(Unverified::Log(fault))) => fault,
        other => panic!("{other:?}"),
    }
}

fn whole(change: impl FnOnce(&mut Vec<Bytes>)) -> Result<bool, ClientError> {
    let (mut answer, header) = answer(&entries(5), 0, 5);
    change(&mut answer.events);
    Pages::new(PATIENT, KeptLog::nothing()).add(&answer, &header)
}

#[test]
fn a_whole_log_is_believed_in_one_answer_or_in_pages_while_it_grows() {
    assert_eq!(whole(|_| ()), Ok(true));
    let (older, newer) = (entries(5), entries(7));
    let mut pages = Pages::new(PATIENT, KeptLog::nothing());
    let (first, header) = answer(&older, 0, 3);
    assert_eq!(pages.add(&first, &header), Ok(false));
    assert_eq!(pages.next(), 3);
    let (second, header) = answer(&newer, 3, 4);
    assert_eq!(pages.add(&second, &header), Ok(true));
    let log = pages.into_log(header);
    assert_eq!((log.from, log.count, log.root), (0, 7, root(&newer)));
    assert_eq!(log.events.iter().map(|event| event.sequence).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    assert_eq!(log.kept().to_string().parse(), Ok(log.kept()));
    assert!("7".parse::<KeptLog>().is_err() && "x:00".parse::<KeptLog>().is_err());
}

#[test]
fn an_empty_log_is_proven_to_be_empty() {
    let (nothing, header) = answer(&[], 0, 0);
    let mut pages = Pages::new(PATIENT, KeptLog::nothing());
    assert_eq!(pages.add(&nothing, &header), Ok(true));
    assert_eq!(pages.into_log(header).kept(), KeptLog::nothing());
    let (_, header) = answer(&entries(1), 0, 1);
    let hidden = Pages::new(PATIENT, KeptLog::nothing()).add(&nothing, &header);
    assert!(matches!(fault(hidden), LogFault::Row { .. }), "a log cannot be hidden");
}

#[test]
fn an_event_that_is_left_out_changed_or_swapped_is_found() {
    let short = |change: fn(&mut Vec<Bytes>)| whole(change);
    assert_eq!(short(|events| drop(events.remove(0))), Err(LogFault::OutOfPlace { place: 0, sequence: 1 }.into()));
    assert_eq!(short(|events| drop(events.remove(2))), Err(LogFault::OutOfPlace { place: 2, sequence: 3 }.into()));
    assert_eq!(short(|events| events.swap(1, 2)), Err(LogFault::OutOfPlace { place: 1, sequence: 2 }.into()));
    assert_eq!(short(Vec::clear), Err(LogFault::Count { count: 5, shown: 0 }.into()));
    assert_eq!(short(|events| events.push(entries(6).remove(5))), Err(LogFault::Count { count: 5, shown: 6 }.into()));
    let milder = |events: &mut Vec<Bytes>| {
        let changed = pb::AccessEvent { purpose: pb::PurposeOfUse::Hmarkt.into(), ..event(4) };
        events[4] = changed.encode_to_vec().into();
    };
    assert_eq!(whole(milder), Err(LogFault::Root.into()));
    let renumbered = |events: &mut Vec<Bytes>| {
        let (one, other) = (event(1), event(2));
        events[1] = pb::AccessEvent { sequence: 1, ..other }.encode_to_vec().into();
        events[2] = pb::AccessEvent { sequence: 2, ..one }.encode_to_vec().into();
    };
    assert_eq!(whole(renumbered), Err(LogFault::Root.into()));
    let foreign = |events: &mut Vec<Bytes>| {
        events[1] = pb::AccessEvent { patient: vec![1; 16].into(), ..event(1) }.encode_to_vec().into();
    };
    assert_eq!(whole(foreign), Err(LogFault::Other { place: 1 }.into()));
    assert!(whole(|events| events[1] = Bytes::from_static(b"\xff")).is_err());
}

#[test]
fn the_end_of_a_log_cannot_be_withheld() {
    let (mut cut, header) = answer(&entries(5), 0, 4);
    let mut pages = Pages::new(PATIENT, KeptLog::nothing());
    assert_eq!(pages.add(&cut, &header), Ok(false), "four of five are not all: the rest is asked for");
    cut.events.clear();
    cut.consistency_path = consistency(4, &entries(5), true);
    assert_eq!(pages.add(&cut, &header), Err(LogFault::Count { count: 5, shown: 4 }.into()));
    let (older, _) = answer(&entries(4), 0, 4);
    let claimed = Pages::new(PATIENT, KeptLog::nothing()).add(&older, &header);
    assert!(matches!(fault(claimed), LogFault::Row { .. }), "an older row is not in this state");
}

#[test]
fn a_changed_page_is_found_by_the_next() {
    let all = entries(6);
    let (mut first, header) = answer(&all, 0, 3);
    first.events[1] = pb::AccessEvent { height: 99, ..event(1) }.encode_to_vec().into();
    let mut pages = Pages::new(PATIENT, KeptLog::nothing());
    assert_eq!(pages.add(&first, &header), Ok(false));
    let (second, header) = answer(&all, 3, 3);
    assert!(matches!(fault(pages.add(&second, &header)), LogFault::Rewritten(_)));
}

#[test]
fn what_was_kept_is_the_beginning_or_the_log_was_rewritten() {
    for known in 1..=9usize {
        let all = entries(9);
        let kept = KeptLog { count: known as u64, root: root(&all[..known]) };
        let (rest, header) = answer(&all, known, 9 - known);
        let mut pages = Pages::new(PATIENT, kept);
        assert_eq!(pages.add(&rest, &header), Ok(true), "{known}");
        let log = pages.into_log(header.clone());
        assert_eq!((log.from, log.events.len(), log.kept().root), (known as u64, 9 - known, root(&all)));
        let other = KeptLog { root: Hash::of(&[b"another"]), ..kept };
        assert!(matches!(fault(Pages::new(PATIENT, other).add(&rest, &header)), LogFault::Rewritten(_)), "{known}");
        if known < 9 {
            let mut cut = rest.clone();
            cut.events.remove(0);
            assert!(Pages::new(PATIENT, kept).add(&cut, &header) != Ok(true), "{known}");
        }
    }
    let kept = KeptLog { count: 9, root: root(&entries(9)) };
    let (shorter, header) = answer(&entries(8), 8, 0);
    let fewer = Pages::new(PATIENT, kept).add(&shorter, &header);
    assert_eq!(fault(fewer), LogFault::Shorter { known: 9, shown: 8 });
}

#[test]
fn a_decision_is_proven_by_its_path() {
    let all = entries(6);
    for place in 0..6usize {
        let (mut shown, header, id) = decision(&all, place);
        let proven = verify::decision(id, &shown, header.clone()).unwrap();
        assert_eq!((proven.event.sequence, proven.unmatched), (place as u64, false));
        let other = TransactionId::from_bytes([99; 32]);
        assert_eq!(
            verify::decision(other, &shown, header.clone()),
            Err(LogFault::Other { place: place as u64 }.into())
        );
        let milder = pb::AccessEvent { height: 77, ..event(place as u64) };
        shown.event = milder.encode_to_vec().into();
        assert!(matches!(fault(verify::decision(id, &shown, header)), LogFault::NotInLog(_)));
    }
}

fn decision(all: &[Bytes], place: usize) -> (pb::GetDecisionResponse, Header, TransactionId) {
    let state = state_of(all);
    let answer = pb::GetDecisionResponse {
        event: all[place].clone(),
        path: inclusion(place, all),
        log: Some(state.row(keys::access_log(&PATIENT))),
        ..Default::default()
    };
    (answer, state.header(), TransactionId::from_bytes([u8::try_from(place).unwrap(); 32]))
}

#[test]
fn a_request_for_nobody_stands_in_the_log_of_the_readers_member() {
    let all = entries(2);
    let log = |member| State::default().with(keys::unmatched_log(member), &row_of(&tree(&all)));
    let answer = |state: &State, member| pb::GetDecisionResponse {
        event: all[1].clone(),
        path: inclusion(1, &all),
        log: Some(state.row(keys::unmatched_log(member))),
        ..Default::default()
    };
    let id = TransactionId::from_bytes([1; 32]);
    let own = log("b.example");
    let proven = verify::decision(id, &answer(&own, "b.example"), own.header()).unwrap();
    assert!(proven.unmatched);
    let other = log("c.example");
    let foreign = verify::decision(id, &answer(&other, "c.example"), other.header());
    assert!(matches!(fault(foreign), LogFault::OtherRow(_)));
}

fn consent_state() -> pb::ConsentState {
    let grant = pb::ConsentGrant { base: pb::ConsentBase::Deny.into(), ..Default::default() };
    pb::ConsentState {
        patient: Bytes::copy_from_slice(&PATIENT.0),
        version: 2,
        grant: Some(grant),
        ..Default::default()
    }
}

const SALT_WRAP: &[u8] = b"wrap of a salt";

const UNTIL: u64 = 500_000;

/// Event 2 of five is sealed.
fn with_sealed() -> Vec<Bytes> {
    let mut entries = entries(5);
    let (salt, basis_sha256) = (vec![8; 16].into(), vec![9; 32].into());
    let seal = pb::Seal { until_ms: UNTIL, basis: pb::SealBasis::Danger.into(), salt, basis_sha256 };
    let legal = Some(pb::LegalTerms { disclosure: None, seal: Some(seal) });
    entries[2] = pb::AccessEvent { legal, ..event(2) }.encode_to_vec().into();
    entries
}

fn sealed_answer(
    change: impl FnOnce(&mut pb::GetAccessLogResponse),
) -> (Pages, Result<bool, ClientError>, pb::GetAccessLogResponse) {
    let entries = with_sealed();
    let (mut answer, header) = answer(&entries, 0, 5);
    let hidden = answer.events.remove(2);
    let leaf_hash = entry_hash(&hidden).to_bytes();
    answer.sealed = vec![pb::SealedEntry { sequence: 2, leaf_hash, until_ms: UNTIL }];
    change(&mut answer);
    let mut pages = Pages::new(PATIENT, KeptLog::nothing());
    let whole = pages.add(&answer, &header);
    (pages, whole, answer)
}

#[test]
fn a_sealed_entry_counts_and_is_kept_to_be_looked_at_later() {
    let (pages, whole, _) = sealed_answer(|_| ());
    assert_eq!(whole, Ok(true));
    let log = pages.into_log(header(root(&with_sealed())));
    assert_eq!(log.events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [0, 1, 3, 4]);
    let kept = log.kept_access();
    assert_eq!((kept.log.count, kept.sealed.len(), kept.sealed[0].until), (5, 1, TimeMs(UNTIL)));
    assert_eq!(kept.to_string().parse(), Ok(kept.clone()));
    let beyond = format!("2:{},2:{UNTIL}:{}", kept.log.root, kept.sealed[0].leaf);
    assert!(beyond.parse::<KeptAccess>().is_err(), "an entry that was not there");
    assert_eq!(log.kept().to_string().parse(), Ok(KeptAccess::from(log.kept())), "as it was written before");
}

#[test]
fn a_seal_that_is_over_too_long_or_somewhere_else_is_refused() {
    type Change = fn(&mut pb::GetAccessLogResponse);
    let year = consilium_proto::limits::SEAL_AHEAD_MAX_MS;
    let refused = |until_ms| LogFault::SealRefused { place: 2, until_ms };
    // The header is of time 1,000, as event 0; event 3, which comes after it, of time 1,003.
    let cases: [(Change, LogFault); 5] = [
        (|a| a.sealed[0].until_ms = 1_000, refused(1_000)),
        (|a| a.sealed[0].until_ms = u64::MAX, refused(u64::MAX)),
        (|a| a.sealed[0].sequence = 7, LogFault::OutOfPlace { place: 2, sequence: 3 }),
        (|a| a.sealed[0].leaf_hash = vec![1; 32].into(), LogFault::Root),
        (|a| a.sealed.clear(), LogFault::OutOfPlace { place: 2, sequence: 3 }),
    ];
    for (change, expected) in cases {
        assert_eq!(fault(sealed_answer(change).1), expected);
    }
    let long = sealed_answer(|a| a.sealed[0].until_ms = 1_000 + consilium_proto::limits::SEAL_AHEAD_MAX_MS + 1).1;
    assert_eq!(fault(long), refused(1_000 + year + 1));
}

#[test]
fn what_was_sealed_must_open_as_it_was_when_its_time_is_over() {
    let entries = with_sealed();
    let sealed = SealedEntry { sequence: 2, leaf: entry_hash(&entries[2]), until: TimeMs(UNTIL) };
    let shown = |entry: Option<&Bytes>| pb::GetAccessLogResponse {
        events: entry.into_iter().cloned().collect(),
        ..pb::GetAccessLogResponse::default()
    };
    let opened = verify::opened(&sealed, &PATIENT, &shown(Some(&entries[2]))).unwrap();
    assert_eq!((opened.sequence, opened.sealed_until), (2, Some(TimeMs(UNTIL))));
    let not_opened = LogFault::NotOpened { place: 2 };
    // Still hidden, another entry, and one that was said to be sealed for longer than it is.
    assert_eq!(fault(verify::opened(&sealed, &PATIENT, &shown(None))), not_opened);
    assert_eq!(fault(verify::opened(&sealed, &PATIENT, &shown(Some(&entries[3])))), not_opened);
    let longer = SealedEntry { until: TimeMs(UNTIL + 1), ..sealed };
    assert_eq!(fault(verify::opened(&longer, &PATIENT, &shown(Some(&entries[2])))), not_opened);
    // One that was never sealed at all, and was hidden as if it were.
    let plain = SealedEntry { sequence: 1, leaf: entry_hash(&entries[1]), until: TimeMs(UNTIL) };
    assert_eq!(fault(verify::opened(&plain, &PATIENT, &shown(Some(&entries[1])))), LogFault::NotOpened { place: 1 });
}
