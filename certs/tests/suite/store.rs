//! The CA directory.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use consilium_certs::secret_file::SecretAccess;
use consilium_certs::{CaStore, Crl, CrlNumber, RevocationReason, RevokeTarget, StoreError, Validity, load_identity};
use consilium_proto::names::Role;

use crate::common::*;

fn ca_validity() -> Validity {
    validity(NOW - DAY, NOW + 3000 * DAY)
}

fn init(dir: &Path) -> CaStore {
    CaStore::init(dir, &MEMBER.parse().unwrap(), ca_validity()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn already_exists(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { error, .. } if error.kind() == ErrorKind::AlreadyExists)
}

#[test]
fn a_life_of_issue_revoke_and_list() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, out) = (temp.path().join("ca"), temp.path().join("out"));
    init(&dir);
    let store = CaStore::open(&dir).unwrap();
    let node = store.issue(&request(Role::Node, "n1"), &out).unwrap();
    let patient = store.issue(&request(Role::Patient, "p1"), &out).unwrap();
    assert_eq!(node.cert_path, out.join("node-n1.pem"));
    let key_path = node.key_path.unwrap();
    assert_eq!(key_path, out.join("node-n1.key"));
    let loaded = load_identity(&node.cert_path, &key_path).unwrap();
    assert_eq!(loaded.identity(), &node.issued.certificate);
    assert_eq!((mode(&key_path), mode(&dir)), (0o600, 0o700));
    assert_eq!(mode(&dir.join("ca.key")), 0o600);

    let parse = |der: &[u8]| Crl::parse(der, store.ca().bundle()).unwrap();
    let list = parse(&store.crl(at(NOW), days(7)).unwrap());
    assert_eq!((list.number(), list.revoked().len()), (CrlNumber::from(1), 0));

    let serial = node.issued.certificate.serial().clone();
    let target = RevokeTarget::Identity(node.issued.certificate.spiffe_id().clone());
    let reason = RevocationReason::KeyCompromise;
    let revoked = store.revoke(&target, reason, at(NOW)).unwrap();
    assert_eq!(revoked.iter().collect::<Vec<_>>(), [&serial]);
    let again = store.revoke(&RevokeTarget::Serial(serial.clone()), reason, at(NOW));
    assert!(matches!(again, Err(StoreError::NothingToRevoke)));

    let der = store.crl(at(NOW), days(7)).unwrap();
    assert_eq!(fs::read(dir.join("ca.crl")).unwrap(), der);
    let list = parse(&der);
    assert_eq!(list.number(), CrlNumber::from(2));
    assert_eq!(list.next_update(), NOW + 7 * DAY);
    assert!(list.is_revoked(&serial));
    assert!(!list.is_revoked(patient.issued.certificate.serial()));

    let records = CaStore::open(&dir).unwrap().records().unwrap();
    let shown: Vec<_> = records.iter().map(|record| (record.spiffe_id.to_string(), record.revoked.is_some())).collect();
    assert_eq!(
        shown,
        [
            ("spiffe://st-mary.example/node/n1".to_owned(), true),
            (format!("spiffe://st-mary.example/patient/{}", opaque("p1")), false),
        ]
    );
}

#[test]
fn nothing_is_overwritten() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("ca");
    let store = init(&dir);
    let before = fs::read(dir.join("ca.key")).unwrap();
    let again = CaStore::init(&dir, &MEMBER.parse().unwrap(), ca_validity());
    assert!(already_exists(&again.unwrap_err()));
    assert_eq!(fs::read(dir.join("ca.key")).unwrap(), before);

    let out = temp.path().join("out");
    store.issue(&request(Role::Node, "n1"), &out).unwrap();
    let again = store.issue(&request(Role::Node, "n1"), &out);
    assert!(already_exists(&again.unwrap_err()));
    // A dangling link in the way would be written through.
    std::os::unix::fs::symlink(temp.path().join("nowhere"), out.join("node-n2.key")).unwrap();
    let linked = store.issue(&request(Role::Node, "n2"), &out);
    assert!(already_exists(&linked.unwrap_err()));
    assert_eq!(store.records().unwrap().len(), 1, "refused before issuing");
}

#[test]
fn names_cannot_leave_the_directory() {
    let temp = tempfile::tempdir().unwrap();
    let store = init(&temp.path().join("ca"));
    for name in ["../x", "/etc/x", "a/b", "..", "", "x\0", "-rf/.."] {
        let outcome = store.issue(&request(Role::Clinician, name), &temp.path().join("out"));
        assert!(matches!(outcome, Err(StoreError::Issue(_))), "{name:?}");
    }
    assert!(!temp.path().join("out").exists());
}

#[test]
fn a_key_open_to_others_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    init(temp.path());
    let key = temp.path().join("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = CaStore::open(temp.path()).unwrap_err();
    let StoreError::KeyAccess { path, error } = refused else { panic!("{refused}") };
    assert_eq!((path, error), (key, SecretAccess::Others { mode: 0o644 }));
}

#[test]
fn a_damaged_index_is_not_guessed_at() {
    let temp = tempfile::tempdir().unwrap();
    let store = init(temp.path());
    let index = temp.path().join("index.json");
    let good = fs::read_to_string(&index).unwrap();
    let damaged = [
        String::new(),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace('{', "{\"unknown\": 1,"),
        good.replace("[]", r#"[{"serial":"00","spiffe_id":"x","not_after":0,"revoked":null}]"#),
    ];
    for text in damaged {
        assert_ne!(text, good);
        fs::write(&index, text).unwrap();
        assert!(matches!(store.records(), Err(StoreError::Index { .. })));
        let issued = store.issue(&request(Role::Node, "n1"), &temp.path().join("out"));
        assert!(matches!(issued, Err(StoreError::Index { .. })));
        assert!(!temp.path().join("out/node-n1.pem").exists());
    }
}
