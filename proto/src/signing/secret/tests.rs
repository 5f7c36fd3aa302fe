#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// RFC 8410 section 10.3, as OpenSSL writes it.
const RFC8410_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

#[test]
fn ed25519_pem_golden() {
    let key = SigningKey::from_pem(RFC8410_PEM).unwrap();
    assert_eq!(key.algorithm(), SignatureAlgorithm::Ed25519);
    assert_eq!(
        hex::encode(key.verifying_key().raw()),
        "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    );
    assert_eq!(key.to_pem().unwrap().as_str(), RFC8410_PEM);
}

#[test]
fn pkcs8_round_trips() {
    for algorithm in [SignatureAlgorithm::Ed25519, SignatureAlgorithm::Es256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        let signature = again.sign(b"message").unwrap();
        assert_eq!(key.verifying_key().verify(b"message", &signature), Ok(()));
    }
}

#[test]
fn ed25519_version_2_needs_its_own_public_key() {
    let key = SigningKey::from_ed25519_seed(&[5; 32]);
    let mut der = ED25519_V2_PREFIX.to_vec();
    der.extend_from_slice(&[5; 32]);
    der.extend_from_slice(&ED25519_V2_PUBLIC);
    der.extend_from_slice(key.verifying_key().raw());
    let again = SigningKey::from_pkcs8_der(&der).unwrap();
    assert_eq!(again.verifying_key(), key.verifying_key());
    *der.last_mut().unwrap() ^= 1;
    assert_eq!(SigningKey::from_pkcs8_der(&der).err(), Some(SigningError::Pkcs8));
}

#[test]
fn wrong_pem_is_refused() {
    let other = RFC8410_PEM.replace("PRIVATE", "EC PRIVATE");
    assert_eq!(SigningKey::from_pem(&other).err(), Some(KeyFileError::Key));
    let missing = PemError::Missing { expected: pem::Label::PrivateKey };
    assert_eq!(SigningKey::from_pem("").err(), Some(KeyFileError::Pem(missing)));
}

/// Keys as OpenSSL writes them; they protect nothing.
macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("tests/", $name, ".key"))
    };
}

#[test]
fn keys_of_openssl_are_read_in_each_form() {
    let pkcs8 = SigningKey::from_pem(key!("p256-pkcs8")).unwrap();
    for sec1 in [key!("p256-sec1"), key!("p256-sec1-parameters")] {
        let key = SigningKey::from_pem(sec1).unwrap();
        assert_eq!(key.verifying_key(), pkcs8.verifying_key());
        let signature = key.sign(b"message").unwrap();
        assert_eq!(pkcs8.verifying_key().verify(b"message", &signature), Ok(()));
    }
    assert_eq!(SigningKey::from_pem(key!("ed25519")).unwrap().algorithm(), SignatureAlgorithm::Ed25519);
}

#[test]
fn other_keys_of_openssl_are_refused_by_what_they_are() {
    let encrypted = KeyFileError::Pem(PemError::Encrypted { line: 1 });
    for (text, expected) in [
        (key!("p256-encrypted"), encrypted.clone()),
        (key!("p256-sec1-encrypted"), encrypted),
        (key!("p384-pkcs8"), KeyFileError::Kind("on P-384")),
        (key!("p384-sec1"), KeyFileError::Kind("on P-384")),
        (key!("p521-pkcs8"), KeyFileError::Kind("on P-521")),
        (key!("rsa-pkcs8"), KeyFileError::Kind("an RSA key")),
        (key!("rsa-pkcs1"), KeyFileError::Pem(PemError::Rsa { line: 1 })),
        (key!("x25519"), KeyFileError::Key),
    ] {
        assert_eq!(SigningKey::from_pem(text).err(), Some(expected));
    }
    let text = SigningKey::from_pem(key!("p256-encrypted")).unwrap_err().to_string();
    assert!(text.contains("openssl pkey -in FILE -out NEW_FILE"), "{text}");
    let text = SigningKey::from_pem(key!("p384-pkcs8")).unwrap_err().to_string();
    assert!(text.contains("is on P-384") && text.contains("openssl genpkey"), "{text}");
}

#[test]
fn debug_is_redacted() {
    let key = SigningKey::from_ed25519_seed(&[0x5a; 32]);
    assert_eq!(format!("{key:?}"), "SigningKey(Ed25519 [redacted])");
}

proptest! {
    #[test]
    fn hostile_pkcs8_never_panics(
        version_2 in any::<bool>(),
        prefix in 0usize..=16,
        tail in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let template = if version_2 { ED25519_V2_PREFIX } else { ED25519_V1_PREFIX };
        let mut der = template[..prefix].to_vec();
        der.extend_from_slice(&tail);
        let _ = SigningKey::from_pkcs8_der(&der);
        let _ = SigningKey::from_pem(&String::from_utf8_lossy(&der));
    }
}
