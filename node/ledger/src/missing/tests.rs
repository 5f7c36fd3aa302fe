#![allow(clippy::unwrap_used)]

use super::*;

fn payload() -> Missing {
    let slot = Slot::Payload { record: RecordId([1; 16]), version: 2 };
    let commitment = Commitment { slot, hash: Hash::from_bytes([3; 32]), size: Size::Exactly(4) };
    Missing { commitment, height: Height(5) }
}

fn wrap() -> Missing {
    let slot = Slot::Wrap { record: RecordId([1; 16]), version: 2, recipient: KeyId::from_bytes([9; 32]) };
    let commitment = Commitment { slot, hash: Hash::from_bytes([3; 32]), size: Size::AtMost(WRAP_BYTES_MAX) };
    Missing { commitment, height: Height(5) }
}

fn descriptor() -> Missing {
    let slot = Slot::Descriptor { record: RecordId([1; 16]), version: 2 };
    let commitment = Commitment { slot, hash: Hash::from_bytes([3; 32]), size: Size::AtMost(DESCRIPTOR_BYTES_MAX) };
    Missing { commitment, height: Height(5) }
}

fn lookup() -> Missing {
    let hash = Hash::from_bytes([3; 32]);
    let slot = Slot::Lookup { patient: PatientPseudonym([4; 16]), hash };
    Missing { commitment: Commitment { slot, hash, size: Size::Exactly(32) }, height: Height(5) }
}

fn salt_wrap() -> Missing {
    let hash = Hash::from_bytes([3; 32]);
    let slot = Slot::SaltWrap { patient: PatientPseudonym([4; 16]), hash };
    Missing { commitment: Commitment { slot, hash, size: Size::AtMost(WRAP_BYTES_MAX) }, height: Height(5) }
}

fn text(slot: Slot) -> Missing {
    let commitment = Commitment { slot, hash: Hash::from_bytes([3; 32]), size: Size::AtMost(PETITION_TEXT_BYTES_MAX) };
    Missing { commitment, height: Height(5) }
}

fn texts() -> [Missing; 2] {
    let petition = PetitionId([6; 16]);
    [text(Slot::PetitionText { petition }), text(Slot::PetitionAnswer { petition })]
}

#[test]
fn rows_are_golden() {
    let row = payload().note();
    let (version, height) = ([0, 0, 0, 2], [0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(row.key, [&b"p"[..], &[1; 16], &version].concat());
    assert_eq!(row.value.unwrap(), [&height[..], &[3; 32], &[0, 0, 0, 4]].concat());
    let row = wrap().note();
    assert_eq!(row.key, [&b"w"[..], &[1; 16], &version, &[9; 32]].concat());
    assert_eq!(row.value.unwrap(), [&height[..], &[3; 32], &[0; 4]].concat());
    assert_eq!(descriptor().note().key, [&b"d"[..], &[1; 16], &version].concat());
    assert_eq!(lookup().note().key, [&b"l"[..], &[4; 16], &[3; 32]].concat());
    assert_eq!(salt_wrap().note().key, [&b"s"[..], &[4; 16], &[3; 32]].concat());
    assert_eq!(texts().map(|text| text.note().key), [b"q", b"a"].map(|kind| [&kind[..], &[6; 16]].concat()));
}

#[test]
fn a_row_is_read_back_and_nothing_else_is() {
    for missing in [payload(), descriptor(), wrap(), lookup(), salt_wrap()].into_iter().chain(texts()) {
        let Row { key, value, .. } = missing.note();
        let value = value.unwrap();
        assert_eq!(Missing::decode(&key, &value), Ok(missing));
        assert!(Missing::decode(&key, &value[1..]).is_err() && Missing::decode(&key[1..], &value).is_err());
        assert!(Missing::decode(&[], &value).is_err() && Missing::decode(&[key, vec![0]].concat(), &value).is_err());
    }
}

#[test]
fn what_is_lost_is_dropped_and_noted() {
    let [dropped, noted] = wrap().lost();
    assert_eq!((dropped.table, dropped.value, noted), (Table::Wraps, None, wrap().note()));
}
