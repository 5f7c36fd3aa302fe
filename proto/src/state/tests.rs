//! Keys as they are stored, and the table beside the .proto files.

#![allow(clippy::unwrap_used)]

use super::keys::*;
use super::*;
use crate::pb::Confidentiality;

fn authority() -> AuthorityName {
    AuthorityName::new("a.b", AuthorityId::from_bytes([9; 32]))
}

/// One key of each kind, and its words.
fn samples() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (member("a.b"), "member a.b"),
        (node(NodeId(258)), "node 258"),
        (
            signer(&Fingerprint::from_bytes([1; 32])),
            "enrolled signer 0101010101010101010101010101010101010101010101010101010101010101",
        ),
        (
            encryption_key(&KeyId::from_bytes([2; 32])),
            "encryption key 0202020202020202020202020202020202020202020202020202020202020202",
        ),
        (identity("spiffe://a.b/service/x"), "identity spiffe://a.b/service/x"),
        (record(&RecordId([0xab; 16])), "record abababababababababababababababab"),
        (
            certificate(&CertificateName::new(authority(), &[7, 8])),
            "signers of certificate 0708 by CA \
             0909090909090909090909090909090909090909090909090909090909090909 of a.b",
        ),
        (parameters(), "parameters"),
        (stake("a\n"), "stake of member a\\n"),
        (participation(), "participation"),
        (epoch(Epoch(3)), "epoch 3"),
        (roster(), "roster"),
        (penalty(1), "penalty 1"),
        (proposal(256), "proposal 256"),
        (access_policy(2), "access policy 2"),
        (protocol(), "protocol version"),
        (standing(NodeId(1)), "standing of node 1"),
        (
            vote_key(&Hash::from_bytes([3; 32])),
            "owner of vote key 0303030303030303030303030303030303030303030303030303030303030303",
        ),
        (
            former_authority(&authority()),
            "former CA 0909090909090909090909090909090909090909090909090909090909090909 of a.b",
        ),
        (patient(&PatientPseudonym([0xcd; 16])), "patient cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"),
        (consent(&ConsentId([0x11; 16])), "consent 11111111111111111111111111111111"),
        (consent_list(&PatientPseudonym([0x22; 16])), "consents of patient 22222222222222222222222222222222"),
        (access_log(&PatientPseudonym([0x22; 16])), "access log of patient 22222222222222222222222222222222"),
        (
            record_list(&ListName::new(PatientPseudonym([0x22; 16]), Confidentiality::Normal, "Observation")),
            "list of records d239e9cf6a51335bf996fc5db77623d8 of 22222222222222222222222222222222, confidentiality 4",
        ),
        (emergency(&EmergencyId([0x33; 16])), "emergency 33333333333333333333333333333333"),
        (reviews_due("a.b"), "reviews due of member a.b"),
        (custody("a.b"), "custody key of member a.b"),
        (wrap_request(&WrapRequestName::new("a.b", 7)), "wrap request 7 of a.b"),
        (
            care(&CareName::new(PatientPseudonym([0x22; 16]), "a.b")),
            "care relation of a.b to 22222222222222222222222222222222",
        ),
        (custody_work("a.b"), "custody work of member a.b"),
        (unmatched_log("a.b"), "log of unmatched requests of member a.b"),
        (record_lists(&PatientPseudonym([0x22; 16])), "lists of records of patient 22222222222222222222222222222222"),
        (
            wrap_state(&WrapName { record: RecordId([0xab; 16]), version: 2, recipient: KeyId::from_bytes([2; 32]) }),
            "key wrap of version 2 of record abababababababababababababababab for key \
             0202020202020202020202020202020202020202020202020202020202020202",
        ),
        (petition(&PetitionId([0x44; 16])), "petition 44444444444444444444444444444444"),
        (petitions_due("a.b"), "petitions due of member a.b"),
        (disclosure(&DisclosureId([0x55; 16])), "disclosure 55555555555555555555555555555555"),
        (
            patient_salt(&SaltName::new(PatientPseudonym([0x22; 16]), "a.b")),
            "label salts of a.b for patient 22222222222222222222222222222222",
        ),
        (custody_duties("a.b"), "custody duties of member a.b"),
        (
            custody_count(&CustodyName::new("a.b", KeyId::from_bytes([2; 32]))),
            "versions wrapped for custody key \
             0202020202020202020202020202020202020202020202020202020202020202 of a.b",
        ),
        (record_change(&RecordId([0xab; 16])), "changes of record abababababababababababababababab"),
    ]
}

#[test]
fn every_key_decodes_to_itself_and_has_words() {
    let samples = samples();
    assert!(samples.iter().map(|(key, _)| StateRow::of(key)).eq(StateRow::ALL.iter().copied().map(Some)));
    for (key, words) in samples {
        let decoded = StateKey::decode(&key).unwrap();
        assert_eq!((decoded.encode(), decoded.to_string().as_str()), (key.clone(), words));
        assert_eq!(describe(&key), words);
    }
}

#[test]
fn what_is_no_key_is_described_and_read_by_nobody() {
    assert_eq!(describe(&[]), "an empty key");
    for (key, words) in
        [(&[0xff, 1][..], "unknown key ff01"), (&[2, 1], "unknown key 0201"), (&[9, 0], "unknown key 0900")]
    {
        assert_eq!((StateKey::decode(key), describe(key).as_str()), (None, words));
    }
    assert_eq!(readers(&[]), Readers::Nobody);
    for tag in RESERVED.into_iter().chain([0, 0xff]) {
        assert_eq!((StateRow::of(&[tag]), readers(&[tag, 1])), (None, Readers::Nobody), "{tag:#04x}");
    }
}

#[test]
fn what_is_of_patients_is_for_auditors_and_the_rest_for_everyone() {
    for row in StateRow::ALL {
        let of_patient =
            *row as u8 >= StateRow::Patient as u8 && !matches!(row, StateRow::Custody | StateRow::CustodyDuties);
        let closed = *row == StateRow::Record || of_patient;
        let expected = if closed { Readers::Auditors } else { Readers::Everyone };
        assert_eq!(row.readers(), expected, "{row:?}");
    }
}

#[test]
fn keys_are_golden() {
    assert_eq!(member("a.b"), b"\x01a.b");
    assert_eq!(node(NodeId(258)), [2, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(signer(&Fingerprint::from_bytes([5; 32])), [&[3][..], &[5; 32]].concat());
    assert_eq!(encryption_key(&KeyId::from_bytes([5; 32])), [&[4][..], &[5; 32]].concat());
    assert_eq!(identity("a"), b"\x05a");
    assert_eq!(record(&RecordId([7; 16])), [&[6][..], &[7; 16]].concat());
    let of_a_b = [&[3][..], b"a.b", &[9; 32]].concat();
    assert_eq!(certificate(&CertificateName::new(authority(), &[7, 8])), [&[8][..], &of_a_b, &[7, 8]].concat());
    assert_eq!(former_authority(&authority()), [&[23][..], &of_a_b].concat());
    assert_eq!(stake("a.b"), b"\x0aa.b");
    assert_eq!(epoch(Epoch(3)), [12, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(penalty(1), [14, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(proposal(256), [15, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(access_policy(2), [17, 0, 0, 0, 2]);
    assert_eq!(standing(NodeId(1)), [19, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(vote_key(&Hash::from_bytes([4; 32])), [&[20][..], &[4; 32]].concat());
    assert_eq!([parameters(), participation(), roster(), protocol()], [[9], [11], [13], [18]]);
    assert_eq!([members(), nodes(), epochs()], [[1], [2], [12]]);
    assert_eq!([penalties(), proposals(), standings()], [[14], [15], [19]]);
}

/// The list at the top of state.proto, as the table would have it.
fn list() -> String {
    let mut lines = String::new();
    for row in StateRow::ALL {
        let (tag, readers) = (*row as u8, format!("{:?}", row.readers()).to_lowercase());
        lines += &format!("//   {tag:#04x} {:<21} {readers:<8} {}\n", row.message(), row.words());
    }
    let reserved: Vec<_> = RESERVED.iter().map(|tag| format!("{tag:#04x}")).collect();
    lines + &format!("//   reserved: {}\n", reserved.join(", "))
}

#[test]
fn the_list_in_state_proto_is_the_table() {
    let (text, expected) = (include_str!("../../consilium/v1/state.proto"), list());
    let listed: String =
        text.lines().filter(|line| line.starts_with("//   ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(listed, expected, "state.proto must list:\n{expected}");
}

#[test]
fn every_message_names_its_key() {
    let files = [
        include_str!("../../consilium/v1/state.proto"),
        include_str!("../../consilium/v1/validators.proto"),
        include_str!("../../consilium/v1/governance.proto"),
        include_str!("../../consilium/v1/genesis.proto"),
        include_str!("../../consilium/v1/patients.proto"),
        include_str!("../../consilium/v1/consents.proto"),
        include_str!("../../consilium/v1/access.proto"),
        include_str!("../../consilium/v1/emergency.proto"),
        include_str!("../../consilium/v1/custody.proto"),
        include_str!("../../consilium/v1/petition.proto"),
        include_str!("../../consilium/v1/disclosure.proto"),
    ];
    for row in StateRow::ALL {
        let head = format!("\nmessage {} {{\n", row.message());
        let before = files.iter().find_map(|text| text.split_once(&head)).unwrap().0;
        let comment: Vec<_> = before.lines().rev().take_while(|line| line.starts_with("//")).collect();
        let named = format!("Key: {:#04x}", *row as u8);
        assert!(comment.iter().any(|line| line.contains(&named)), "{} must say {named:?}", row.message());
    }
}
