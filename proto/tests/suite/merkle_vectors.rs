//! The Merkle module against published RFC 6962 / RFC 9162 vectors, which are
//! read at test time and never copied into the project. Bytes in, verdict out:
//! hashes of a wrong length are part of what must be refused.

use consilium_proto::hash::{Hash, LengthError};
use consilium_proto::merkle::{
    ConsistencyProof, InclusionProof, leaf_hash, root_of, verify_consistency, verify_inclusion,
};
use serde_json::Value;

use crate::common::{base64, vectors};

/// Accepted and refused cases of `inclusion.json`.
const INCLUSION_COUNTS: (usize, usize) = (5, 63);

/// Accepted and refused cases of `consistency.json`.
const CONSISTENCY_COUNTS: (usize, usize) = (4, 59);

fn hash(value: &Value) -> Result<Hash, LengthError> {
    Hash::try_from(&base64(value.as_str().unwrap_or_default())[..])
}

fn path(value: &Value) -> Result<Vec<Hash>, LengthError> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(hash).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

type Verdict = Result<(), Box<dyn std::error::Error>>;

fn judge_inclusion(case: &Value) -> Verdict {
    let proof = InclusionProof::new(number(&case["leafIdx"]), number(&case["treeSize"]), path(&case["proof"])?)?;
    Ok(verify_inclusion(&hash(&case["leafHash"])?, &proof, &hash(&case["root"])?)?)
}

fn judge_consistency(case: &Value) -> Verdict {
    let proof = ConsistencyProof::new(number(&case["size1"]), number(&case["size2"]), path(&case["proof"])?)?;
    Ok(verify_consistency(&proof, &hash(&case["root1"])?, &hash(&case["root2"])?)?)
}

/// Judges every case of a file; counts (accepted, refused).
fn judge_all(name: &str, judge: fn(&Value) -> Verdict) -> Option<(usize, usize)> {
    let (mut accepted, mut refused) = (0, 0);
    for case in vectors(&format!("merkle/{name}"))?.as_array().unwrap() {
        let verdict = judge(case);
        let want_error = case["wantErr"].as_bool().unwrap();
        assert_eq!(verdict.is_err(), want_error, "{}: {verdict:?}", case["name"]);
        match verdict {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    Some((accepted, refused))
}

#[test]
fn inclusion_proofs() {
    if let Some(counts) = judge_all("inclusion.json", judge_inclusion) {
        assert_eq!(counts, INCLUSION_COUNTS);
    }
}

#[test]
fn consistency_proofs() {
    if let Some(counts) = judge_all("consistency.json", judge_consistency) {
        assert_eq!(counts, CONSISTENCY_COUNTS);
    }
}

#[test]
fn roots_of_the_customary_leaves() {
    let Some(file) = vectors("merkle/roots.json") else {
        return;
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let leaves: Vec<Hash> = file["leaf_inputs_hex"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| leaf_hash(&hex::decode(text(input)).unwrap()))
        .collect();
    let roots = file["root_hex_by_tree_size"].as_array().unwrap();
    assert_eq!(roots.len(), 9);
    for (size, root) in roots.iter().enumerate() {
        let computed = root_of(leaves[..size].iter().copied()).unwrap();
        assert_eq!(computed.to_string(), text(root), "tree of {size} leaves");
    }
}
