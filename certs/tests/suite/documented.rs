//! The settings of docs/certificates.md for OpenSSL make certificates inside the profile.

use std::fs;
use std::path::Path;
use std::process::Command;

use consilium_certs::{CaBundle, MemberCa, Purpose, RevocationPolicy, load_identity, pem, verify_chain};
use consilium_proto::names::Role;

const DOCUMENT: &str = include_str!("../../../docs/certificates.md");

/// The text of the only block of the document that begins so.
fn block(fence: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("```{fence}\n")).unwrap();
    let (block, rest) = rest.split_once("```").unwrap();
    assert!(!rest.contains(&format!("```{fence}\n")), "two blocks of {fence}");
    block
}

fn is_there() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn certificates_of_openssl_are_inside_the_profile() {
    if !is_there() {
        eprintln!("NOT RUN: no openssl on this machine");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("openssl.cnf"), block("ini openssl.cnf")).unwrap();
    let script = format!("set -eu\n{}", block("sh openssl"));
    let made = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let bundle = CaBundle::from_pem(&fs::read(path("ca.pem")).unwrap()).unwrap();
    assert_eq!(bundle.member().as_str(), "st-mary.example");
    let node = verified(&path("node.pem"), &bundle, Purpose::Server);
    assert_eq!(node.to_string(), "spiffe://st-mary.example/node/n1");
    let person = verified(&path("person.pem"), &bundle, Purpose::Client);
    assert_eq!(person.role(), Role::Clinician);
    // The keys that OpenSSL wrote beside them serve as they are.
    assert!(load_identity(&path("node.pem"), &path("node.key")).unwrap().identity().has_host_name());
    assert!(load_identity(&path("person.pem"), &path("person.key")).is_ok());
    let text = |name: &str| fs::read_to_string(path(name)).unwrap();
    assert!(MemberCa::load(&text("ca.pem"), &text("ca.key")).is_ok());
}

fn verified(path: &Path, bundle: &CaBundle, purpose: Purpose) -> consilium_proto::names::SpiffeId {
    let chain = pem::certificates(&fs::read(path).unwrap()).unwrap();
    let at = consilium_certs::IdentityCertificate::parse(&chain[0]).unwrap().not_before() + 1;
    let verified = verify_chain(&chain, bundle, &[], RevocationPolicy::default(), at, purpose).unwrap();
    verified.identity.spiffe_id().clone()
}
