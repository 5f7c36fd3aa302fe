#![allow(clippy::unwrap_used)]

use super::*;
use crate::signing::{SignatureAlgorithm, SigningKey};
use proptest::prelude::*;

fn single(items: &[(VerifyingKey, &[u8], [u8; 64])]) -> Vec<bool> {
    items.iter().map(|(k, m, s)| k.verify(m, s).is_ok()).collect()
}

#[test]
fn empty_batch() {
    assert_eq!(verify_batch(&[]), Vec::<bool>::new());
}

#[test]
fn bad_items_are_named_across_groups_and_algorithms() {
    let ed25519 = SigningKey::from_ed25519_seed(&[3; 32]);
    let es256 = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
    let count = 2 * BATCH_LEN_MAX + 5;
    let bad = [0, 7, BATCH_LEN_MAX, count - 1];
    let items: Vec<_> = (0..count)
        .map(|i| {
            let key = if i % 7 == 0 { &es256 } else { &ed25519 };
            let mut signature = key.sign(b"m").unwrap();
            if bad.contains(&i) {
                signature[40] ^= 1;
            }
            (key.verifying_key(), &b"m"[..], signature)
        })
        .collect();
    let expected: Vec<bool> = (0..count).map(|i| !bad.contains(&i)).collect();
    assert_eq!(verify_batch(&items), expected);
}

/// A signature by the seed 04..04 over "m" to whose R a point of order 8 was
/// added: valid by the cofactored equation only. Here verifiers part, and the
/// plain `ed25519-dalek` batch answers at random. Made with big integers in
/// Python; `aws-lc`, which is cofactorless, shows that it discriminates.
#[test]
fn torsion_in_r_is_judged_alike() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    const TORSION: &str = "2a686932f547f4dd02bb4142e2ec0b6d522e85a01a1538ab9f1268a3f23851e677beb3d46b81ed393c6cfd0b3d40472c57d7f694d29959f3de66ed7924c16703";
    let key = SigningKey::from_ed25519_seed(&[4; 32]);
    let public = key.verifying_key();
    let torsion: [u8; 64] = hex::decode(TORSION).unwrap().try_into().unwrap();
    let cofactorless = UnparsedPublicKey::new(&ED25519, public.raw());
    assert!(cofactorless.verify(b"m", &torsion).is_err());
    let honest = key.sign(b"m").unwrap();
    assert!(cofactorless.verify(b"m", &honest).is_ok());
    for count in 1..20 {
        let mut items = vec![(public.clone(), &b"m"[..], honest); count];
        items[count / 2].2 = torsion;
        assert_eq!(verify_batch(&items), vec![true; count]);
        assert_eq!(single(&items), vec![true; count]);
    }
    let identity_r = std::array::from_fn(|i| u8::from(i == 0));
    let items = vec![(public, &b"m"[..], identity_r)];
    assert_eq!((verify_batch(&items), single(&items)), (vec![false], vec![false]));
}

/// s + l encodes the same scalar: accepted by sloppy verifiers only.
#[test]
fn non_canonical_s_is_refused_alone_and_in_a_batch() {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = SigningKey::from_ed25519_seed(&[6; 32]);
    let mut signature = key.sign(b"m").unwrap();
    let mut carry = 0u16;
    for (byte, add) in signature[32..].iter_mut().zip(L) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    let items = vec![(key.verifying_key(), &b"m"[..], signature)];
    assert_eq!(single(&items), [false]);
    assert_eq!(verify_batch(&items), [false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn batch_equals_single(
        seeds in proptest::collection::vec(any::<[u8; 32]>(), 1..12),
        flips in proptest::collection::vec((any::<usize>(), 0usize..64, 0u8..8), 0..4),
        noise in proptest::option::of(any::<[u8; 32]>()),
    ) {
        let mut items: Vec<(VerifyingKey, &[u8], [u8; 64])> = seeds
            .iter()
            .map(|seed| {
                let key = SigningKey::from_ed25519_seed(seed);
                (key.verifying_key(), &b"m"[..], key.sign(b"m").unwrap())
            })
            .collect();
        for (item, byte, bit) in flips {
            let item = item % items.len();
            items[item].2[byte] ^= 1 << bit;
        }
        if let Some(noise) = noise {
            items[0].2[..32].copy_from_slice(&noise);
        }
        prop_assert_eq!(verify_batch(&items), single(&items));
    }
}
