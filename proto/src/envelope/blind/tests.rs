#![allow(clippy::unwrap_used)]

use super::*;

/// Computed independently with Python's `hmac`.
#[test]
fn golden() {
    let key = SearchKey::from_bytes(&[0x0b; 32]);
    assert_eq!(hex::encode(blind_tag(&key, "code", b"718-7")), "c5be322f5b87f2c8aaf50b84b0f8124e");
    assert_eq!(hex::encode(lookup_tag(&key, b"urn:oid:1.2.3|123456")), "8b230ae5153c2afd9170f936e56613ee");
}

#[test]
fn kind_and_value_do_not_run_together() {
    let key = SearchKey::from_bytes(&[1; 32]);
    assert_ne!(blind_tag(&key, "ab", b"c"), blind_tag(&key, "a", b"bc"));
    assert_ne!(blind_tag(&key, "", b"x"), lookup_tag(&key, b"x"));
}

#[test]
fn keys_separate() {
    let one = SearchKey::generate().unwrap();
    let two = SearchKey::generate().unwrap();
    assert_ne!(blind_tag(&one, "code", b"x"), blind_tag(&two, "code", b"x"));
}

#[test]
fn debug_is_redacted() {
    let key = SearchKey::from_bytes(&[0x5a; 32]);
    assert_eq!(format!("{key:?}"), "SearchKey([redacted])");
}
