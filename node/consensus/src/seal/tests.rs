#![allow(clippy::unwrap_used)]

use consilium_kit::keys;

use super::*;

const LEDGER: LedgerId = LedgerId::from_bytes([1; 32]);

fn position(index: u64, term: u64, hash: u8) -> LogPosition {
    LogPosition { index: LogIndex(index), term: Term(term), hash: LogHash::from_bytes([hash; 32]) }
}

fn sealed(leader: u64, position: LogPosition) -> SealedPosition {
    let signer = Signer { ledger_id: LEDGER, key: keys::vote(leader) };
    let seal = Seal::sign(&signer, RaftId::new(leader).unwrap(), &position).unwrap();
    SealedPosition { position, seal }
}

#[test]
fn signed_bytes_are_golden() {
    let bytes = Seal::signing_bytes(&LEDGER, &position(0x0102, 3, 9));
    let expected = [
        b"consilium/log-seal/v1".as_slice(),
        &[1; 32],
        &[0; 8],
        &[0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[9; 32],
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn a_seal_is_of_one_key_one_ledger_and_one_entry() {
    let entry = position(5, 3, 9);
    let SealedPosition { seal, .. } = sealed(1, entry);
    let (key, other) = (keys::vote(1).verifying_key(), keys::vote(2).verifying_key());
    assert!(seal.verifies(&LEDGER, &entry, &key));
    assert!(!seal.verifies(&LEDGER, &entry, &other));
    assert!(!seal.verifies(&LedgerId::from_bytes([2; 32]), &entry, &key));
    for another in [position(6, 3, 9), position(5, 4, 9), position(5, 3, 8)] {
        assert!(!seal.verifies(&LEDGER, &another, &key));
    }
}

#[test]
fn only_two_entries_of_one_leader_for_one_place_contradict_each_other() {
    let one = sealed(1, position(5, 3, 9));
    assert!(one.contradicts(&sealed(1, position(5, 3, 8))));
    for other in [sealed(1, position(5, 3, 9)), sealed(2, position(5, 3, 8)), sealed(1, position(5, 4, 8))] {
        assert!(!one.contradicts(&other), "{other:?}");
    }
}

#[test]
fn both_encodings_come_back_and_nobody_signs_nothing() {
    let one = sealed(7, position(5, 3, 9));
    assert_eq!(SealedPosition::try_from(&pb::SealedPosition::from(&one)), Ok(one));
    assert_eq!(Seal::decode(&Seal::encode(Some(&one.seal))), Ok(Some(one.seal)));
    let nobody = Seal::encode(None);
    assert_eq!((nobody, Seal::decode(&nobody)), ([0; Seal::ENCODED_LEN], Ok(None)));
    let mut stray = nobody;
    stray[20] = 1;
    assert!(Seal::decode(&stray).is_err());
    let nobody = pb::SealedPosition { leader: 0, ..(&one).into() };
    assert!(SealedPosition::try_from(&nobody).is_err());
}
