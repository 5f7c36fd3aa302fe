//! Hostile bytes: nothing panics, nothing forged is accepted.

use std::fs;
use std::path::{Path, PathBuf};

use consilium_certs::{
    CaBundle, CaCertificate, Crl, IdentityCertificate, Purpose, RevocationPolicy, pem, verify_chain,
};
use consilium_proto::names::Role;
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

use crate::common::*;

/// The folder of test vectors, if there is one.
fn vectors(kind: &str) -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let shared = std::env::var("CONSILIUM_SHARED")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let dir = shared.join("vectors/x509").join(kind);
    let Ok(entries) = fs::read_dir(&dir) else {
        eprintln!("SKIPPED: vectors absent at {}", dir.display());
        return None;
    };
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    let files: Vec<_> = entries.map(|entry| read(entry.unwrap().path())).collect();
    assert!(files.len() > 10, "only {} vectors", files.len());
    Some(files)
}

/// The DER of a vector; a PEM that is refused goes in as it is.
fn der_of(path: &Path, bytes: &[u8], from_pem: fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    if path.extension().is_some_and(|extension| extension == "pem") {
        from_pem(bytes).unwrap_or_else(|| bytes.to_vec())
    } else {
        bytes.to_vec()
    }
}

#[test]
fn certificate_vectors_are_refused() {
    let from_pem = |text: &[u8]| Some(pem::certificates(text).ok()?.first()?.to_vec());
    let Some(files) = vectors("cert") else { return };
    for (path, bytes) in files {
        let der = der_of(&path, &bytes, from_pem);
        let leaf = IdentityCertificate::parse(&der);
        assert!(leaf.is_err(), "{}", path.display());
        let ca = CaCertificate::parse(&der);
        assert!(ca.is_err(), "{}", path.display());
    }
}

#[test]
fn crl_vectors_are_refused() {
    let from_pem = |text: &[u8]| pem::revocation_list(text).ok();
    let Some(files) = vectors("crl") else { return };
    let member = ca(MEMBER);
    for (path, bytes) in files {
        let list = Crl::parse(&der_of(&path, &bytes, from_pem), member.bundle());
        assert!(list.is_err(), "{}", path.display());
    }
}

#[test]
fn no_flipped_bit_of_a_certificate_goes_unnoticed() {
    let member = ca(MEMBER);
    let good = issue(&member, Role::Node, "n1").certificate.der().to_vec();
    let verify = |der: &[u8]| {
        let chain = [CertificateDer::from(der)];
        let policy = RevocationPolicy::default();
        verify_chain(&chain, member.bundle(), &[], policy, NOW, Purpose::Client)
    };
    assert!(verify(&good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn no_flipped_bit_of_a_list_goes_unnoticed() {
    let member = ca(MEMBER);
    let gone = issue(&member, Role::Node, "n1").certificate;
    let good = member.crl(&[revoked(gone.serial())], 3, around(NOW)).unwrap();
    assert!(Crl::parse(&good, member.bundle()).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Crl::parse(&bad, member.bundle()).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let member = sample();
        let _ = IdentityCertificate::parse(&bytes);
        let _ = CaCertificate::parse(&bytes);
        let _ = Crl::parse(&bytes, &member.bundle);
        let _ = CaBundle::from_pem(&bytes);
    }

    #[test]
    fn parsers_never_panic_on_damaged_input(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let sample = sample();
        for good in [&sample.leaf, &sample.ca, &sample.crl] {
            let mut bytes = good.clone();
            for (index, byte) in &edits {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            for input in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                let _ = IdentityCertificate::parse(input);
                let _ = CaCertificate::parse(input);
                let _ = Crl::parse(input, &sample.bundle);
            }
        }
    }
}

struct Sample {
    leaf: Vec<u8>,
    ca: Vec<u8>,
    crl: Vec<u8>,
    bundle: CaBundle,
}

/// Made once: the cases differ in their damage, not in keys.
fn sample() -> &'static Sample {
    static SAMPLE: std::sync::OnceLock<Sample> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| {
        let member = ca(MEMBER);
        let leaf = issue(&member, Role::Node, "n1").certificate;
        Sample {
            crl: member.crl(&[revoked(leaf.serial())], 1, around(NOW)).unwrap(),
            leaf: leaf.der().to_vec(),
            ca: member.certificate().der().to_vec(),
            bundle: member.bundle().clone(),
        }
    })
}
