#![allow(clippy::unwrap_used)]
use std::os::unix::fs::PermissionsExt;

use super::*;
use consilium_client::identity::{load_encryption_key, load_search_key, load_signing_key};

#[test]
fn keys_are_private_loadable_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    signing(&at("s")).unwrap();
    encryption(&at("e"), Kem::XWing).unwrap();
    vote(&at("v")).unwrap();
    search(&at("k")).unwrap();
    for name in ["s", "e", "v", "k"] {
        let mode = std::fs::metadata(at(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(load_signing_key(&at("s")).unwrap().algorithm(), SignatureAlgorithm::Ed25519);
    assert_eq!(load_encryption_key(&at("e")).unwrap().kem(), KemId::XWing);
    load_search_key(&at("k")).unwrap();
    let public = std::fs::read_to_string(at("v.pub")).unwrap();
    let key = load_signing_key(&at("v")).unwrap();
    assert_eq!(public.trim(), hex::encode(key.verifying_key().raw()));
    assert_eq!(public.trim().len(), 130);
    let before = std::fs::read(at("s")).unwrap();
    assert!(matches!(signing(&at("s")), Err(ClientError::File { .. })));
    assert_eq!(std::fs::read(at("s")).unwrap(), before);
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    search(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = load_search_key(&path).unwrap_err();
    assert!(error.to_string().contains("mode 0644"), "{error}");
}

#[test]
fn scripts_get_where_a_key_is() {
    let made =
        Made { key: Path::new("vote.key"), public: Some("vote.key.pub".into()), fingerprint: Some("ab".repeat(32)) };
    crate::json::snapshot::check("key", &made);
}
