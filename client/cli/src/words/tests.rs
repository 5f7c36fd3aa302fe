#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::*;

#[test]
fn every_purpose_has_words_of_its_own() {
    let words: BTreeSet<_> = purpose::all().map(super::purpose).collect();
    assert_eq!(words.len(), purpose::all().count());
    assert_eq!(super::purpose(parse_purpose("TREAT").unwrap()), "treatment");
    assert_eq!(super::purpose(parse_purpose("BTG").unwrap()), "a declared emergency");
    assert_eq!(super::purpose(parse_purpose("HOPERAT").unwrap()), "running the hospital");
    for words in words {
        assert!(!words.contains("unknown") && words.chars().all(|c| !c.is_ascii_uppercase()), "{words}");
    }
    assert!(parse_purpose("treat").is_err() && parse_purpose("").is_err());
}

#[test]
fn a_ground_says_first_what_was_decided() {
    // A list may have shown nothing: neither of the two.
    for (code, start) in [(1, "permitted: "), (7, "a list was asked for: "), (20, "denied: "), (27, "denied: ")] {
        assert!(ground(AccessGround::try_from(code).unwrap()).starts_with(start), "{code}");
    }
}

#[test]
fn levels_are_hl7s_letters() {
    assert_eq!(parse_level("R"), Ok(Confidentiality::Restricted));
    assert_eq!(level(parse_level("N").unwrap()), "N");
    assert!(parse_level("?").is_err() && parse_level("n").is_err());
}
