use super::*;

#[test]
fn signing_input_golden() {
    let input = signing_input(Domain::TX, &[0xab; 32]);
    assert_eq!(hex::encode(input), format!("0f{}{}", hex::encode("consilium/tx/v2"), "ab".repeat(32)));
}

#[test]
fn domains_differ_and_are_short() {
    let distinct: std::collections::BTreeSet<_> = Domain::ALL.iter().collect();
    assert_eq!(distinct.len(), Domain::ALL.len());
    for domain in Domain::ALL {
        assert!(domain.as_str().is_ascii() && domain.as_str().len() < 64);
    }
}

#[test]
fn signature_length_is_exact() {
    assert_eq!(signature_from_slice(&[7; 64]), Ok([7; 64]));
    for len in [0, 63, 65, 72] {
        assert_eq!(signature_from_slice(&vec![0; len]), Err(SigningError::SignatureLength(len)));
    }
}

#[test]
fn tags_round_trip() {
    for algorithm in [SignatureAlgorithm::Ed25519, SignatureAlgorithm::Es256] {
        assert_eq!(SignatureAlgorithm::try_from(algorithm.tag()), Ok(algorithm));
    }
    assert_eq!(SignatureAlgorithm::try_from(0), Err(SigningError::UnknownAlgorithm(0)));
}
