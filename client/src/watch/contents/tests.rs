#![allow(clippy::unwrap_used)]

use consilium_proto::ids::Fingerprint;
use consilium_proto::pb::ExecutedTransaction;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use consilium_proto::transaction::sign;

use super::*;
use crate::access_log::tests::header;

fn signed(nonce: u8) -> pb::SignedTransaction {
    let body = pb::TransactionBody {
        ledger_id: vec![1; 32].into(),
        nonce: vec![nonce; 16].into(),
        actions: vec![vec![nonce].into()],
        ..Default::default()
    };
    let key = SigningKey::generate(SignatureAlgorithm::Ed25519).unwrap();
    sign(body, Fingerprint::from_bytes([2; 32]), &key, Vec::new()).unwrap()
}

fn shown(transaction: &pb::SignedTransaction) -> ExecutedTransaction {
    ExecutedTransaction { transaction: Some(transaction.clone()), outcome: 1, withheld: None }
}

fn withheld(transaction: &pb::SignedTransaction) -> ExecutedTransaction {
    let (id, signature) = leaf_of(&shown(transaction)).unwrap();
    let withheld = pb::WithheldTransaction { transaction_id: id.to_bytes(), signature_sha256: signature.to_bytes() };
    ExecutedTransaction { transaction: None, outcome: 1, withheld: Some(withheld) }
}

fn root_of(transactions: Vec<ExecutedTransaction>) -> Result<Hash, ClientError> {
    let mut tree = Frontier::default();
    extend(&mut tree, &header(Hash::from_bytes([0; 32])), &pb::Block { transactions, ..Default::default() })?;
    Ok(tree.root())
}

#[test]
fn withheld_transactions_make_the_same_tree_and_false_ones_another() {
    let (one, two) = (signed(1), signed(2));
    let whole = root_of(vec![shown(&one), shown(&two)]).unwrap();
    assert_eq!(root_of(vec![shown(&one), withheld(&two)]).unwrap(), whole);
    assert_eq!(root_of(vec![withheld(&one), withheld(&two)]).unwrap(), whole);
    assert_ne!(root_of(vec![withheld(&two), withheld(&one)]).unwrap(), whole);
    for change in [
        |w: &mut pb::WithheldTransaction| w.transaction_id = vec![7; 32].into(),
        |w: &mut pb::WithheldTransaction| w.signature_sha256 = vec![7; 32].into(),
    ] {
        let mut other = withheld(&one);
        change(other.withheld.as_mut().unwrap());
        assert_ne!(root_of(vec![other, shown(&two)]).unwrap(), whole);
    }
    let refused = ExecutedTransaction { outcome: 5, ..withheld(&one) };
    assert_ne!(root_of(vec![refused, shown(&two)]).unwrap(), whole);
}

#[test]
fn a_transaction_is_shown_or_withheld_and_never_both_or_neither() {
    let transaction = signed(1);
    let both = ExecutedTransaction { transaction: Some(transaction.clone()), ..withheld(&transaction) };
    assert!(root_of(vec![both]).is_err());
    assert!(root_of(vec![ExecutedTransaction { transaction: None, outcome: 1, withheld: None }]).is_err());
    let mut short = withheld(&transaction);
    short.withheld.as_mut().unwrap().transaction_id = vec![7; 31].into();
    assert!(root_of(vec![short]).is_err());
}
