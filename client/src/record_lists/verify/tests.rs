#![allow(clippy::unwrap_used)]
use consilium_proto::log::row_of;

use super::*;
use crate::access_log::tests::{State, consistency, fault, tree};

const PATIENT: PatientPseudonym = PatientPseudonym([7; 16]);
const OTHER: PatientPseudonym = PatientPseudonym([8; 16]);
const NORMAL: (&str, Confidentiality) = ("Observation", Confidentiality::Normal);
const HIDDEN: (&str, Confidentiality) = ("Observation", Confidentiality::VeryRestricted);
const NOTES: (&str, Confidentiality) = ("note", Confidentiality::Normal);

/// What a ledger holds: entries by list.
type Held<'a> = &'a [((&'a str, Confidentiality), usize)];

fn entry(list: (&str, Confidentiality), place: usize) -> Bytes {
    let place = u8::try_from(place).unwrap();
    let id = [list.0.len() as u8, list.1 as u8, place];
    let mut record_id = vec![0; 13];
    record_id.extend(id);
    let (version, sequence) = (1, u64::from(place) * 10 + list.1 as u64);
    let entry = pb::RecordListEntry { record_id: record_id.into(), version, sequence, time_ms: 5 };
    entry.encode_to_vec().into()
}

fn entries(list: (&str, Confidentiality), count: usize) -> Vec<Bytes> {
    (0..count).map(|place| entry(list, place)).collect()
}

fn key(patient: PatientPseudonym, list: (&str, Confidentiality)) -> Vec<u8> {
    keys::record_list(&ListName::new(patient, list.1, list.0))
}

/// The same for two patients, of whom the other has one record more of each.
fn state(held: Held<'_>) -> State {
    let name = |(kind, level): (&str, Confidentiality)| pb::RecordListName {
        kind: kind.to_owned(),
        confidentiality: level as u32,
    };
    let names = pb::RecordListsState { lists: held.iter().map(|(list, _)| name(*list)).collect() };
    let mut state = State::default().with(keys::record_lists(&OTHER), &names);
    if !held.is_empty() {
        state = state.with(keys::record_lists(&PATIENT), &names);
    }
    for (list, count) in held {
        state = state.with(key(PATIENT, *list), &row_of(&tree(&entries(*list, *count))));
        state = state.with(key(OTHER, *list), &row_of(&tree(&entries(*list, count + 1))));
    }
    state
}

/// The answer of an honest node to what is asked next, with at most so many entries.
fn answer(held: Held<'_>, gathering: &Gathering, mut room: usize) -> (pb::ListPatientRecordsResponse, Header) {
    let state = state(held);
    let wanted = match gathering.wanted() {
        wanted if wanted.is_empty() => held.iter().map(|(list, _)| (*list, 0)).collect(),
        wanted => {
            let level = |code: u32| Confidentiality::try_from(code as i32).unwrap();
            let of = |w: &pb::WantedRecordList| {
                let known = [NORMAL, HIDDEN, NOTES].into_iter().map(|list| list.0).find(|kind| *kind == w.kind);
                ((known.unwrap(), level(w.confidentiality)), w.from_entry as usize)
            };
            wanted.iter().map(of).collect::<Vec<_>>()
        }
    };
    let lists = wanted.into_iter().map(|(list, from)| {
        let count = held.iter().find(|(known, _)| *known == list).map_or(0, |(_, count)| *count);
        let all = entries(list, count);
        let shown: Vec<_> = all.iter().skip(from).take(room).cloned().collect();
        room -= shown.len();
        let path = if (1..=all.len()).contains(&from) { consistency(from, &all, true) } else { Vec::new() };
        pb::ShownRecordList { list: Some(state.row(key(PATIENT, list))), entries: shown, consistency_path: path }
    });
    let lists = lists.collect();
    let record_lists = Some(state.row(keys::record_lists(&PATIENT)));
    (pb::ListPatientRecordsResponse { record_lists, lists, header: None }, state.header())
}

fn all() -> Gathering {
    Gathering::new(PATIENT, None, &KeptLists::nothing())
}

/// What becomes of an answer about three lists after a change.
fn changed(change: impl FnOnce(&mut pb::ListPatientRecordsResponse)) -> Result<bool, ClientError> {
    let mut gathering = all();
    let (mut answer, header) = answer(&[(NORMAL, 5), (HIDDEN, 2), (NOTES, 3)], &gathering, 100);
    change(&mut answer);
    gathering.add(&answer, &header)
}

#[test]
fn all_lists_are_believed_in_one_answer() {
    let held: Held<'_> = &[(NORMAL, 5), (HIDDEN, 2), (NOTES, 3)];
    let mut gathering = all();
    let (answer, header) = answer(held, &gathering, 100);
    assert_eq!(gathering.add(&answer, &header), Ok(true));
    let lists = gathering.into_lists(header.clone());
    assert_eq!(lists.header, header);
    let counts: Vec<_> = lists.lists.iter().map(|l| ((&*l.kind, l.confidentiality), l.entries.len())).collect();
    assert_eq!(counts, held);
    assert_eq!(lists.records().len(), 10);
    let kept = lists.keep(&KeptLists::nothing());
    assert_eq!(kept.to_string().parse(), Ok(kept));
}

#[test]
fn that_there_is_nothing_is_proven_and_a_patient_cannot_be_hidden() {
    let mut gathering = all();
    let (nothing, header) = answer(&[], &gathering, 100);
    assert_eq!(gathering.add(&nothing, &header), Ok(true));
    assert!(gathering.into_lists(header).lists.is_empty());
    let (_, header) = answer(&[(NORMAL, 1)], &all(), 100);
    assert!(matches!(fault(all().add(&nothing, &header)), LogFault::Row { .. }));
}

#[test]
fn an_entry_that_is_left_out_changed_or_swapped_is_found() {
    assert_eq!(changed(|_| ()), Ok(true));
    assert_eq!(changed(|a| drop(a.lists[0].entries.remove(2))), Ok(false), "the rest is asked for");
    assert_eq!(changed(|a| a.lists[0].entries.swap(1, 2)), Err(LogFault::Root.into()));
    assert_eq!(changed(|a| a.lists[0].entries[1] = entry(NOTES, 1)), Err(LogFault::Root.into()));
    let more = changed(|a| a.lists[1].entries.push(entry(HIDDEN, 2)));
    assert_eq!(more, Err(LogFault::Count { count: 2, shown: 3 }.into()));
    assert!(changed(|a| a.lists[0].entries[0] = Bytes::from_static(b"\xff")).is_err());
}

#[test]
fn an_entry_that_is_left_out_of_the_middle_is_found_by_the_next_answer() {
    let held: Held<'_> = &[(NORMAL, 5)];
    let mut gathering = all();
    let (mut first, header) = answer(held, &gathering, 4);
    first.lists[0].entries.remove(1);
    assert_eq!(gathering.add(&first, &header), Ok(false));
    let (second, header) = answer(held, &gathering, 100);
    assert!(matches!(fault(gathering.add(&second, &header)), LogFault::Rewritten(_)));
}

#[test]
fn the_end_of_a_list_cannot_be_withheld() {
    let held: Held<'_> = &[(NORMAL, 5), (NOTES, 3)];
    let mut gathering = all();
    let (first, header) = answer(held, &gathering, 4);
    assert_eq!(gathering.add(&first, &header), Ok(false));
    let (nothing, header) = answer(held, &gathering, 0);
    assert!(gathering.add(&nothing, &header).is_err(), "it shows nothing new");
    let (older, _) = answer(&[(NORMAL, 4), (NOTES, 3)], &all(), 100);
    assert!(matches!(fault(all().add(&older, &header)), LogFault::Row { .. }), "older rows are not in this state");
}

#[test]
fn a_list_cannot_be_hidden_or_be_another_patients() {
    assert_eq!(changed(|a| drop(a.lists.remove(1))), Err(LogFault::Count { count: 3, shown: 2 }.into()));
    assert!(matches!(fault(changed(|a| a.lists.swap(0, 2))), LogFault::OtherRow(_)));
    // Proven not to be there, which it is.
    let absent = state(&[(NORMAL, 5), (NOTES, 3)]).row(key(PATIENT, HIDDEN));
    assert!(matches!(fault(changed(|a| a.lists[1].list = Some(absent))), LogFault::Row { .. }));
    let held: Held<'_> = &[(NORMAL, 5), (HIDDEN, 2), (NOTES, 3)];
    let foreign = || state(held).row(key(OTHER, NORMAL));
    assert!(matches!(fault(changed(|a| a.lists[0].list = Some(foreign()))), LogFault::OtherRow(_)));
    let renamed = pb::ProvenRow { key: key(PATIENT, NORMAL).into(), ..foreign() };
    assert!(matches!(fault(changed(|a| a.lists[0].list = Some(renamed))), LogFault::Row { .. }));
    let names = || state(held).row(keys::record_lists(&OTHER));
    assert!(matches!(fault(changed(|a| a.record_lists = Some(names()))), LogFault::OtherRow(_)));
    assert!(matches!(fault(changed(|a| a.record_lists = None)), LogFault::OtherRow(_)));
}

#[test]
fn lists_of_one_kind_are_whole_with_the_absence_of_the_others() {
    let mut gathering = Gathering::new(PATIENT, Some("Observation"), &KeptLists::nothing());
    assert_eq!(gathering.wanted().len(), 6);
    let held: Held<'_> = &[(NORMAL, 5), (NOTES, 3)];
    let (mut shown, header) = answer(held, &gathering, 100);
    let lacking = pb::ListPatientRecordsResponse { lists: shown.lists[..5].to_vec(), ..shown.clone() };
    let mut other = Gathering::new(PATIENT, Some("Observation"), &KeptLists::nothing());
    assert_eq!(fault(other.add(&lacking, &header)), LogFault::Count { count: 6, shown: 5 });
    assert_eq!(gathering.add(&shown, &header), Ok(true));
    assert_eq!(gathering.into_lists(header.clone()).lists.len(), 1);
    // That there are none at the highest level is proven, not said.
    shown.lists[5] = pb::ShownRecordList::default();
    let mut other = Gathering::new(PATIENT, Some("Observation"), &KeptLists::nothing());
    assert!(matches!(fault(other.add(&shown, &header)), LogFault::OtherRow(_)));
}

#[test]
fn what_was_kept_is_the_beginning_or_the_lists_were_rewritten() {
    let known = |list: (&str, Confidentiality), count| KeptLog {
        count: count as u64,
        root: tree(&entries(list, count)).root(),
    };
    let kept = KeptLists::nothing().with(NORMAL.0, NORMAL.1, known(NORMAL, 3));
    let held: Held<'_> = &[(NORMAL, 5), (NOTES, 3)];
    let mut gathering = Gathering::new(PATIENT, None, &kept);
    let (first, header) = answer(held, &gathering, 100);
    assert_eq!(gathering.add(&first, &header), Ok(false), "the list that is new is asked for");
    let (second, header) = answer(held, &gathering, 100);
    assert_eq!(gathering.add(&second, &header), Ok(true));
    let lists = gathering.into_lists(header);
    assert_eq!(lists.lists.iter().map(|l| (l.from, l.entries.len())).collect::<Vec<_>>(), [(3, 2), (0, 3)]);
    let rewritten = KeptLists::nothing().with(NORMAL.0, NORMAL.1, known(NOTES, 3));
    let mut gathering = Gathering::new(PATIENT, None, &rewritten);
    let (first, header) = answer(held, &gathering, 100);
    assert!(matches!(fault(gathering.add(&first, &header)), LogFault::Rewritten(_)));
    let gone = KeptLists::nothing().with(HIDDEN.0, HIDDEN.1, known(HIDDEN, 2));
    let mut gathering = Gathering::new(PATIENT, None, &gone);
    let (first, header) = answer(held, &gathering, 100);
    assert_eq!(fault(gathering.add(&first, &header)), LogFault::Shorter { known: 2, shown: 0 });
}

#[test]
fn lists_in_several_answers_are_all_that_there_was_at_the_first() {
    let mut gathering = all();
    let (first, before) = answer(&[(NORMAL, 5), (NOTES, 3)], &gathering, 6);
    assert_eq!(gathering.add(&first, &before), Ok(false));
    // Meanwhile lists have grown, and another one began.
    let (second, mut after) = answer(&[(NORMAL, 6), (NOTES, 4), (HIDDEN, 1)], &gathering, 100);
    after.height = before.height.next();
    assert_eq!(gathering.add(&second, &after), Ok(true));
    let lists = gathering.into_lists(after);
    assert_eq!(lists.header, before);
    assert_eq!(lists.lists.iter().map(|l| l.log.count).collect::<Vec<_>>(), [5, 4]);
}

#[test]
fn a_record_stands_where_its_newest_version_brought_it() {
    let moved = |version, list: (&str, Confidentiality)| RecordList {
        kind: list.0.to_owned(),
        confidentiality: list.1,
        from: 0,
        entries: vec![RecordEntry { record: RecordId([1; 16]), version, sequence: 4, time: TimeMs(5) }],
        log: KeptLog::nothing(),
    };
    let (_, header) = answer(&[], &all(), 0);
    let lists = RecordLists { patient: PATIENT, lists: vec![moved(3, HIDDEN), moved(1, NORMAL)], header };
    let records = lists.records();
    assert_eq!((records.len(), records[0].0.confidentiality, records[0].1.version), (1, HIDDEN.1, 3));
}

#[test]
fn what_was_kept_is_parsed_strictly() {
    let root = "0a".repeat(32);
    assert!(format!("note 4 3:{root}\n").parse::<KeptLists>().is_ok());
    for bad in ["note 4", "note 0 1:x", "note 9 3:{root}", " 4 3:{root}", "note 4 3:{root} more", "\n"] {
        let bad = format!("note 4 3:{root}\n{}", bad.replace("{root}", &root));
        assert_eq!(bad.parse::<KeptLists>(), Err(crate::record_lists::ParseKeptListsError(2)), "{bad}");
    }
}
