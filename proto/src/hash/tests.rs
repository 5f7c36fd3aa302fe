#![allow(clippy::unwrap_used)]

use super::*;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn sha256_is_the_same_however_the_input_is_cut() {
    let expected: Hash = ABC.parse().unwrap();
    assert_eq!(Hash::of(&[b"abc"]), expected);
    assert_eq!(Hash::of(&[b"a", b"", b"bc"]), expected);
    for len in [ONE_SHOT_LEN_MAX - 1, ONE_SHOT_LEN_MAX, ONE_SHOT_LEN_MAX + 1] {
        let input = vec![7u8; len];
        assert_eq!(sha256(&[&input]), sha256(&[&input[..9], &input[9..]]));
    }
}

#[test]
fn text_forms() {
    let hash: Hash = ABC.to_uppercase().parse().unwrap();
    assert_eq!(hash.to_string(), ABC);
    assert_eq!(format!("{hash:?}"), format!("Hash({ABC})"));
}

#[test]
fn refusals_hold_the_facts() {
    assert_eq!(Hash::try_from(&[0u8; 33][..]), Err(LengthError { type_name: "Hash", actual: 33 }));
    assert_eq!("00".parse::<Hash>(), Err(ParseHashError::Length { type_name: "Hash", actual: 2 }));
    let bad = format!("{}x{}", &ABC[..5], &ABC[6..]);
    assert_eq!(bad.parse::<Hash>(), Err(ParseHashError::Digit { type_name: "Hash", position: 5 }));
}
