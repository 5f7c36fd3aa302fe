#![allow(clippy::unwrap_used)]
use consilium_grpc::access_service_server::AccessService;
use consilium_kit::people::write_record;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{RecordId, TimeMs};
use consilium_proto::pb::{Confidentiality, action::Action};
use consilium_proto::transaction::{Disclose, VersionRef};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tonic::Request;

use super::*;
use crate::access_log::tests::fault;
use crate::clock::now_ms;
use crate::disclosures::{new_disclosure_id, new_seal};
use crate::fixture::mutations::mutate;
use crate::fixture::node::{Fault, TestNode};
use crate::fixture::python_tests::ELECTIONS;
use crate::fixture::sdk_tests::client;
use crate::fixture::{Network, QUICK};

const PATIENT: PatientPseudonym = PatientPseudonym([1; 16]);
pub(crate) const OBSERVATION: &str = "fhir.Observation";
const MUTATIONS: usize = 1_500;

/// A patient's files, after two elections: four entries, of which the second and the third are
/// sealed, and three lists.
pub(crate) struct Files {
    pub(crate) auditor: Client,
    node: std::sync::Arc<TestNode>,
    ehr: Client,
    /// As it is handed to the patient.
    pub(crate) sealed: pb::ListProof,
    /// As auditors see it.
    pub(crate) open: pb::ListProof,
    pub(crate) lists: pb::ListProof,
}

impl Files {
    pub(crate) async fn of(network: &Network) -> Self {
        let (address, node) = TestNode::new(network, Fault::None).serve(&network.member).await;
        let ehr = client(network, &[&address]).await;
        let auditor = Client::connect_with(network.auditor_profile(vec![address]), QUICK).await.unwrap();
        auditor.enroll().await.unwrap();
        write(&ehr, 1, OBSERVATION, Confidentiality::Normal).await;
        write(&ehr, 2, OBSERVATION, Confidentiality::VeryRestricted).await;
        ask(&ehr, None).await;
        ELECTIONS.iter().for_each(|moves| node.elect(moves));
        let disclosure = disclose(&ehr, &auditor).await;
        ask(&ehr, Some(disclosure)).await;
        ask(&ehr, None).await;
        write(&ehr, 3, OBSERVATION, Confidentiality::Normal).await;
        write(&ehr, 4, "note", Confidentiality::Normal).await;
        let sealed = auditor.access_log_proof(PATIENT, false).await.unwrap();
        let open = auditor.access_log_proof(PATIENT, true).await.unwrap();
        let lists = auditor.record_lists_proof(PATIENT, None).await.unwrap();
        Self { auditor, node, ehr, sealed, open, lists }
    }
}

async fn write(ehr: &Client, id: u8, kind: &str, level: Confidentiality) {
    let payload = Bytes::from_static(b"payload");
    let Action::WriteRecord(record) = write_record([id; 16], 1, kind, &payload) else { unreachable!("it is one") };
    let patient = PATIENT.0.to_vec().into();
    let record = pb::WriteRecord { patient, confidentiality: level.into(), ..record };
    let action = pb::Action { action: Some(Action::WriteRecord(record)) };
    let signed = ehr.sign(vec![action], vec![payload]).unwrap();
    ehr.submit(signed, pb::WaitFor::Certified).await.unwrap().into_applied().unwrap();
}

async fn ask(ehr: &Client, sealed_by: Option<Bytes>) {
    let record = VersionRef { record: RecordId([1; 16]), version: 0 };
    let salt = Bytes::from_static(&[6; 16]);
    let request = pb::RequestAccess {
        patient: PATIENT.0.to_vec().into(),
        purpose: pb::PurposeOfUse::Hlegal.into(),
        kind: pb::AccessKind::Read.into(),
        records: vec![(&record).into()],
        sealed_by: sealed_by.map(|disclosure_id| pb::SealedBy { disclosure_id, salt }),
        ..pb::RequestAccess::default()
    };
    let action = pb::Action { action: Some(Action::RequestAccess(request)) };
    let signed = ehr.sign(vec![action], Vec::new()).unwrap();
    ehr.submit(signed, pb::WaitFor::Certified).await.unwrap().into_applied().unwrap();
}

/// Of which the patient must not know yet.
async fn disclose(ehr: &Client, auditor: &Client) -> Bytes {
    let hash = |what: &[u8]| Hash::of(&[what]);
    let until = TimeMs(now_ms() + 86_400_000);
    let draft = Disclose {
        id: new_disclosure_id(),
        patient: PATIENT,
        basis: pb::DisclosureBasis::CourtOrder,
        order: hash(b"salted order"),
        records: vec![VersionRef { record: RecordId([1; 16]), version: 0 }],
        recipient: pb::DisclosureRecipient::Court,
        recipient_hash: hash(b"salted name"),
        seal: Some(new_seal(until, pb::SealBasis::Investigation, hash(b"salted secrecy"))),
    };
    ehr.disclose(&draft).await.unwrap();
    auditor.confirm_disclosure(draft.id).await.unwrap();
    Bytes::copy_from_slice(&draft.id.0)
}

/// Files of accesses that are wrong in one respect, with what that is.
pub(crate) fn damaged_log(
    good: &pb::ListProof,
    open: &pb::ListProof,
    lists: &pb::ListProof,
) -> Vec<(&'static str, pb::ListProof)> {
    let with = |change: &dyn Fn(&mut pb::GetAccessLogResponse)| {
        let mut file = good.clone();
        change(file.access_log.as_mut().unwrap().log.as_mut().unwrap());
        file
    };
    let another = |bytes: &Bytes| {
        let event = pb::AccessEvent::decode(bytes.clone()).unwrap();
        let purpose = pb::PurposeOfUse::Hmarkt.into();
        Bytes::from(pb::AccessEvent { purpose, ..event }.encode_to_vec())
    };
    let shown = open.access_log.as_ref().unwrap().log.clone().unwrap();
    let other_patient = pb::AccessLogProof { patient: vec![9; 16].into(), ..good.access_log.clone().unwrap() };
    vec![
        ("the last is left out", with(&|log| drop(log.events.pop()))),
        ("the first is left out", with(&|log| drop(log.events.remove(0)))),
        ("all are left out", with(&|log| (log.events, log.sealed) = Default::default())),
        ("two are swapped", with(&|log| log.events.swap(0, 1))),
        ("one is there twice", with(&|log| log.events.push(log.events[1].clone()))),
        ("one is changed", with(&|log| log.events[0] = another(&log.events[0]))),
        ("one is no event", with(&|log| log.events[0] = Bytes::from_static(b"\xff"))),
        ("a sealed one is left out", with(&|log| drop(log.sealed.pop()))),
        ("sealed ones are swapped", with(&|log| log.sealed.swap(0, 1))),
        ("a sealed one is another", with(&|log| log.sealed[0].leaf_hash = vec![1; 32].into())),
        ("a seal is for ever", with(&|log| log.sealed[0].until_ms = u64::MAX)),
        ("a seal is over", with(&|log| log.sealed[0].until_ms = 1)),
        ("a sealed one is shown, too", with(&|log| log.events.insert(1, shown.events[1].clone()))),
        ("the row says that there is nothing", with(&|log| log.log.as_mut().unwrap().value = Bytes::new())),
        ("the row is not there", with(&|log| log.log = None)),
        ("the row is another's", with(&|log| log.log.as_mut().unwrap().key = vec![0x23; 17].into())),
        ("the row is older", with(&|log| older(log.log.as_mut().unwrap()))),
        ("the header is not there", with(&|log| log.header = None)),
        ("the header is not final", with(&|log| log.header.as_mut().unwrap().following.clear())),
        ("the header is another", with(&|log| another_time(log.header.as_mut().unwrap()))),
        ("nobody has certified it", with(&|log| certificate(log).signatures.truncate(1))),
        ("it is of another patient", pb::ListProof { access_log: Some(other_patient), ..good.clone() }),
        ("the elections are left out", pb::ListProof { set_changes: Vec::new(), ..good.clone() }),
        ("an election is left out", pb::ListProof { set_changes: good.set_changes[1..].to_vec(), ..good.clone() }),
        (
            "an election is there twice",
            pb::ListProof { set_changes: [&good.set_changes[..1], &good.set_changes].concat(), ..good.clone() },
        ),
        ("it is of a newer format", pb::ListProof { format: 2, ..good.clone() }),
        ("it is of no format", pb::ListProof { format: 0, ..good.clone() }),
        ("it is of nothing", pb::ListProof { access_log: None, ..good.clone() }),
        ("it is of both", pb::ListProof { record_lists: lists.record_lists.clone(), ..good.clone() }),
    ]
}

fn older(row: &mut pb::ProvenRow) {
    let state = pb::LogState::decode(row.value.clone()).unwrap();
    row.value = pb::LogState { count: state.count - 1, ..state }.encode_to_vec().into();
}

fn another_time(proof: &mut pb::HeaderProof) {
    proof.header.as_mut().unwrap().time_ms += 1;
}

fn certificate(log: &mut pb::GetAccessLogResponse) -> &mut pb::BlockCertificate {
    log.header.as_mut().unwrap().certificate.as_mut().unwrap()
}

#[tokio::test]
async fn a_whole_log_is_verified_offline_with_the_genesis_alone() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let live = files.auditor.access_log(PATIENT, KeptLog::nothing()).await.unwrap();
    assert_eq!((live.count, live.events.len(), files.open.set_changes.len()), (4, 4, 2));
    let open = verify_log(&files.open.encode_to_vec(), &network.genesis).unwrap();
    assert_eq!((&open.log.events, open.log.count, open.log.root), (&live.events, live.count, live.root));
    assert_eq!((open.certified.signed_power, open.certified.ledger), (30_000, network.genesis.ledger_id));
    assert!(open.certified.height > open.log.header.height, "a later header makes it final");
    let VerifiedFile::Log(by_kind) = verify_file(&files.open.encode_to_vec(), &network.genesis).unwrap() else {
        panic!("it is a log");
    };
    assert_eq!(by_kind, open);
    let nothing = verify_record_lists(&files.open.encode_to_vec(), &network.genesis);
    assert!(matches!(nothing, Err(ClientError::Field(_))), "{nothing:?}");
}

#[tokio::test]
async fn what_is_sealed_stays_so_in_a_file_and_counts() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let log = verify_log(&files.sealed.encode_to_vec(), &network.genesis).unwrap().log;
    let open = verify_log(&files.open.encode_to_vec(), &network.genesis).unwrap().log;
    let numbers = |log: &AccessLog| log.events.iter().map(|event| event.sequence).collect::<Vec<_>>();
    assert_eq!((numbers(&log), numbers(&open)), (vec![0, 3], vec![0, 1, 2, 3]));
    assert_eq!((log.count, log.root), (open.count, open.root));
    assert_eq!(log.sealed, open.seals, "until when, and the hash of what will be shown then");
    let told = files.sealed.encode_to_vec();
    let hidden = &files.open.access_log.as_ref().unwrap().log.as_ref().unwrap().events[2];
    let salt: &[u8] = &[6; 16];
    assert!(hidden.windows(16).any(|part| part == salt) && !told.windows(16).any(|part| part == salt));
}

#[tokio::test]
async fn forged_logs_are_refused() {
    let network = Network::new();
    let files = Files::of(&network).await;
    for (what, file) in damaged_log(&files.sealed, &files.open, &files.lists) {
        let verified = verify_log(&file.encode_to_vec(), &network.genesis);
        assert!(verified.is_err(), "{what}");
    }
    let mut cut = files.open.clone();
    cut.access_log.as_mut().unwrap().log.as_mut().unwrap().events.pop();
    let refused = verify_log(&cut.encode_to_vec(), &network.genesis);
    assert_eq!(fault(refused), LogFault::EndsEarly { shown: 3 });
    let other = verify_log(&files.open.encode_to_vec(), &Network::new().genesis).unwrap_err();
    assert!(matches!(other, ClientError::Verification(Unverified::Validators(_))), "{other:?}");
}

#[tokio::test]
async fn all_lists_or_those_of_one_kind_are_verified_offline() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let live = files.auditor.record_lists(PATIENT, None, &KeptLists::nothing()).await.unwrap();
    let report = verify_record_lists(&files.lists.encode_to_vec(), &network.genesis).unwrap();
    assert_eq!((report.kind, &report.lists.lists, live.lists.len()), (None, &live.lists, 3));
    let of_kind = files.auditor.record_lists_proof(PATIENT, Some(OBSERVATION)).await.unwrap();
    let report = verify_record_lists(&of_kind.encode_to_vec(), &network.genesis).unwrap();
    let levels: Vec<_> = report.lists.lists.iter().map(|list| list.confidentiality).collect();
    assert_eq!(levels, [Confidentiality::Normal, Confidentiality::VeryRestricted]);
    assert_eq!(report.kind.as_deref(), Some(OBSERVATION));
    // What is of one kind is not all.
    let mut all = of_kind;
    all.record_lists.as_mut().unwrap().kind = String::new();
    assert!(verify_record_lists(&all.encode_to_vec(), &network.genesis).is_err());
    assert!(verify_log(&files.lists.encode_to_vec(), &network.genesis).is_err());
}

/// Files of all lists that are wrong in one respect, with what that is.
pub(crate) fn damaged_lists(good: &pb::ListProof) -> Vec<(&'static str, pb::ListProof)> {
    let proof = |change: &dyn Fn(&mut pb::RecordListsProof)| {
        let mut file = good.clone();
        change(file.record_lists.as_mut().unwrap());
        file
    };
    let first = |change: &dyn Fn(&mut pb::ListPatientRecordsResponse)| proof(&|lists| change(&mut lists.answers[0]));
    let another = |bytes: &Bytes| {
        let entry = pb::RecordListEntry::decode(bytes.clone()).unwrap();
        let version = entry.version + 1;
        Bytes::from(pb::RecordListEntry { version, ..entry }.encode_to_vec())
    };
    let unnamed = |answer: &mut pb::ListPatientRecordsResponse| {
        let row = answer.record_lists.as_mut().unwrap();
        let mut names = pb::RecordListsState::decode(row.value.clone()).unwrap();
        names.lists.remove(1);
        row.value = names.encode_to_vec().into();
        answer.lists.remove(1);
    };
    vec![
        ("an entry is left out", first(&|answer| drop(answer.lists[0].entries.pop()))),
        ("entries are swapped", first(&|answer| answer.lists[0].entries.swap(0, 1))),
        ("an entry is changed", first(&|answer| answer.lists[0].entries[0] = another(&answer.lists[0].entries[0]))),
        ("an entry is no entry", first(&|answer| answer.lists[0].entries[0] = Bytes::from_static(b"\xff"))),
        ("an entry is there twice", first(&|answer| answer.lists[1].entries.extend_from_within(..))),
        ("an entry is another list's", first(&|answer| answer.lists[0].entries = answer.lists[1].entries.clone())),
        ("a list is hidden", first(&|answer| drop(answer.lists.remove(1)))),
        ("a list is hidden, also from the names", first(&unnamed)),
        ("a list is said to be empty", first(&|answer| answer.lists[1].list.as_mut().unwrap().value.clear())),
        ("lists are swapped", first(&|answer| answer.lists.swap(0, 1))),
        ("there are no lists", first(&|answer| answer.lists.clear())),
        ("the names are not there", first(&|answer| answer.record_lists = None)),
        ("there are no answers", proof(&|lists| lists.answers.clear())),
        ("an answer is there twice", proof(&|lists| lists.answers.extend_from_within(..))),
        ("it is of another patient", proof(&|lists| lists.patient = vec![9; 16].into())),
        ("it is of one kind", proof(&|lists| lists.kind = OBSERVATION.to_owned())),
        ("the header is another", first(&|answer| another_time(answer.header.as_mut().unwrap()))),
        ("the elections are left out", pb::ListProof { set_changes: Vec::new(), ..good.clone() }),
    ]
}

#[tokio::test]
async fn forged_lists_of_records_are_refused() {
    let network = Network::new();
    let files = Files::of(&network).await;
    for (what, file) in damaged_lists(&files.lists) {
        assert!(verify_record_lists(&file.encode_to_vec(), &network.genesis).is_err(), "{what}");
    }
    let other = verify_record_lists(&files.lists.encode_to_vec(), &Network::new().genesis).unwrap_err();
    assert!(matches!(other, ClientError::Verification(Unverified::Validators(_))), "{other:?}");
}

/// All lists: a first answer that shows an entry less, and one of a later epoch that shows the rest.
pub(crate) async fn in_two_answers(files: &Files) -> pb::ListProof {
    let mut file = files.lists.clone();
    file.record_lists.as_mut().unwrap().answers[0].lists[0].entries.pop();
    files.node.elect(&[]);
    write(&files.ehr, 5, OBSERVATION, Confidentiality::Normal).await;
    let wanted = pb::WantedRecordList {
        kind: OBSERVATION.into(),
        confidentiality: Confidentiality::Normal as u32,
        from_entry: 1,
    };
    let patient = PATIENT.0.to_vec().into();
    let request = pb::ListPatientRecordsRequest { patient, lists: vec![wanted], ..Default::default() };
    let rest = files.node.list_patient_records(Request::new(request)).await.unwrap().into_inner();
    file.record_lists.as_mut().unwrap().answers.push(rest);
    files.ehr.certified_head().await.unwrap();
    let headers = file.record_lists.as_ref().unwrap().answers.iter().filter_map(|answer| answer.header.as_ref());
    file.set_changes = files.ehr.changes_for(headers);
    file
}

#[tokio::test]
async fn lists_in_several_answers_are_whole_up_to_the_first_of_them() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let mut cut = files.lists.clone();
    let first = &mut cut.record_lists.as_mut().unwrap().answers[0];
    first.lists[0].entries.pop();
    let height = first.header.as_ref().unwrap().header.as_ref().unwrap().height;
    let cut = verify_record_lists(&cut.encode_to_vec(), &network.genesis);
    assert_eq!(fault(cut), LogFault::EndsEarly { shown: 3 });

    let mut file = in_two_answers(&files).await;
    let report = verify_record_lists(&file.encode_to_vec(), &network.genesis).unwrap();
    assert_eq!((report.lists.header.height, report.lists.records().len()), (Height(height), 5));
    assert!(report.certified.height < files.ehr.certified_head().await.unwrap().header.height);
    // In another order they prove nothing.
    file.record_lists.as_mut().unwrap().answers.reverse();
    assert!(verify_record_lists(&file.encode_to_vec(), &network.genesis).is_err());
}

/// Whatever becomes of a file on its way, it says the same or nothing.
#[tokio::test]
async fn a_file_that_was_changed_on_its_way_is_refused_or_says_the_same() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let told = |bytes: &[u8]| match verify_file(bytes, &network.genesis) {
        Ok(VerifiedFile::Log(report)) => Some((Some(report.log), None)),
        Ok(VerifiedFile::Lists(report)) => Some((None, Some((report.kind, report.lists)))),
        Ok(VerifiedFile::Decision(report)) => panic!("{report:?}"),
        Err(_) => None,
    };
    let good = [&files.sealed, &files.open, &files.lists].map(Message::encode_to_vec);
    let said = good.each_ref().map(|bytes| told(bytes).unwrap());
    let (mut rng, mut refused) = (StdRng::seed_from_u64(13), 0);
    for number in 0..MUTATIONS {
        let of = number % good.len();
        let changed = mutate(&mut rng, &good[of]);
        match told(&changed) {
            None => refused += 1,
            now => assert_eq!(now.as_ref(), Some(&said[of]), "{}", hex::encode(changed)),
        }
    }
    assert!((MUTATIONS / 2..MUTATIONS).contains(&refused), "{refused}: too few or too many to tell anything");
}

#[test]
fn files_that_are_nothing_are_refused_and_name_what_is_wrong() {
    let network = Network::new();
    for nothing in [&[][..], &[0xff; 300], b"%PDF-1.7"] {
        assert!(verify_file(nothing, &network.genesis).is_err());
    }
    let newer = pb::ListProof { format: 2, ..Default::default() }.encode_to_vec();
    let newer = verify_file(&newer, &network.genesis).unwrap_err();
    assert_eq!(newer.to_string(), "format: is not known; a newer program is needed");
}

#[tokio::test]
async fn entries_can_be_withheld_from_a_file_but_not_hidden() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let mut file = files.open.clone();
    let shown = file.access_log.as_mut().unwrap().log.as_mut().unwrap();
    let header = verify_log(&files.open.encode_to_vec(), files.auditor.genesis()).unwrap().log.header;
    let withhold = |(place, entry): (usize, &Bytes)| pb::SealedEntry {
        sequence: place as u64,
        leaf_hash: leaf_hash(entry).to_bytes(),
        until_ms: header.time.0 + 1,
    };
    shown.sealed = shown.events.iter().enumerate().map(withhold).collect();
    let events = std::mem::take(&mut shown.events);
    // The tree is what it was: that they are sealed is the word of who made the file.
    let log = verify_log(&file.encode_to_vec(), files.auditor.genesis()).unwrap().log;
    assert_eq!((log.count, log.events.len(), log.sealed.len()), (events.len() as u64, 0, events.len()));
}

#[tokio::test]
async fn what_is_too_large_or_names_no_kind_is_not_decoded() {
    let network = Network::new();
    let files = Files::of(&network).await;
    let genesis = files.auditor.genesis();
    let refused = |file: &pb::ListProof| verify_file(&file.encode_to_vec(), genesis).unwrap_err().to_string();
    let mut kind = files.lists.clone();
    kind.record_lists.as_mut().unwrap().kind = "\u{1b}[2Jverified".to_owned();
    assert!(refused(&kind).contains("record_lists.kind"), "{}", refused(&kind));
    let mut event = files.open.clone();
    event.access_log.as_mut().unwrap().log.as_mut().unwrap().events[0] = vec![0x3a; 300 * 1024].into();
    assert!(refused(&event).contains("event"), "{}", refused(&event));
    let long = vec![0; usize::try_from(LIST_PROOF_BYTES_MAX).unwrap() + 1];
    assert!(verify_file(&long, genesis).unwrap_err().to_string().contains("file"));
    let set_changes = vec![pb::SetChange::default(); crate::light_client::SET_CHANGES_MAX + 1];
    let receipt = pb::Receipt { set_changes, ..pb::Receipt::default() };
    let decision = pb::DecisionReceipt { receipt: Some(receipt.clone()), decision: None }.encode_to_vec();
    assert!(verify_file(&decision, genesis).unwrap_err().to_string().contains("receipt.set_changes"));
    let receipt = receipt.encode_to_vec();
    let receipt = crate::receipts::verify_receipt(&receipt, genesis).unwrap_err().to_string();
    assert!(receipt.contains("set_changes"), "{receipt}");
}
