#![allow(clippy::unwrap_used)]

use super::super::proof::tests::{naive_proof, sample};
use super::*;
use proptest::prelude::*;

fn hash(fill: u8) -> Hash {
    Hash::from_bytes([fill; 32])
}

fn other() -> Terminal {
    Terminal::OtherLeaf { key_hash: KeyHash::from_bytes([0xaa; 32]), value_hash: ValueHash::from_bytes([0xbb; 32]) }
}

#[test]
fn golden_bytes() {
    // Changing this breaks every stored proof and every other verifier.
    let proof = StateProof::new(other(), vec![hash(1), EMPTY, hash(2)]).unwrap();
    let expected = [&[1, 2, 0, 3, 0b1010_0000][..], &[0xaa; 32], &[0xbb; 32], &[1; 32], &[2; 32]].concat();
    assert_eq!(proof.encode(), expected);
    assert_eq!(StateProof::decode(&expected), Ok(proof));
}

#[test]
fn the_longest_proof_survives() {
    for sibling in [EMPTY, hash(7)] {
        let proof = StateProof::new(Terminal::Present, vec![sibling; DEPTH_MAX]).unwrap();
        assert_eq!(StateProof::decode(&proof.encode()), Ok(proof));
    }
}

#[test]
fn real_proofs_survive() {
    let map = sample(300);
    for n in 0u32..600 {
        let proof = naive_proof(&map, &KeyHash::of(&n.to_be_bytes()));
        assert_eq!(StateProof::decode(&proof.encode()), Ok(proof));
    }
}

#[test]
fn decode_refuses() {
    use StateProofDecodeError as Error;
    let cases: [(Vec<u8>, Error); 10] = [
        (vec![], Error::Truncated),
        (vec![2, 0, 0, 0], Error::Version(2)),
        (vec![1, 3, 0, 0], Error::Terminal(3)),
        (vec![1, 0, 1, 1], Error::TooManySiblings(257)),
        (vec![1, 0, 0, 9, 0], Error::Truncated),
        (vec![1, 0, 0, 9, 0, 0x40], Error::SpareBits),
        (vec![1, 0, 0, 1, 0x80], Error::Truncated),
        ([&[1, 0, 0, 1, 0x80][..], &[0; 32]].concat(), Error::EmptySibling(0)),
        (vec![1, 0, 0, 0, 9, 9], Error::Trailing(2)),
        ([&[1, 2, 0, 0][..], &[0; 63]].concat(), Error::Truncated),
    ];
    for (bytes, error) in cases {
        assert_eq!(StateProof::decode(&bytes), Err(error), "{bytes:?}");
    }
}

fn any_proof() -> impl Strategy<Value = StateProof> {
    let terminal = prop_oneof![Just(Terminal::Empty), Just(Terminal::Present), Just(other())];
    let sibling = prop_oneof![Just(EMPTY), any::<[u8; 32]>().prop_map(Hash::from_bytes)];
    (terminal, prop::collection::vec(sibling, 0..=DEPTH_MAX))
        .prop_map(|(terminal, siblings)| StateProof::new(terminal, siblings).unwrap())
}

proptest! {
    #[test]
    fn round_trip_and_no_panic_on_damage(
        proof in any_proof(),
        at in any::<prop::sample::Index>(),
        fill in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = proof.encode();
        prop_assert_eq!(StateProof::decode(&bytes), Ok(proof));
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] = fill;
        for input in [&damaged[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(other) = StateProof::decode(input) {
                prop_assert_eq!(other.encode(), input);
            }
        }
    }

    #[test]
    fn decode_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(proof) = StateProof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes);
        }
    }
}
