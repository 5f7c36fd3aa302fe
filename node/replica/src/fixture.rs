//! Transactions for unit tests: an id and so many bytes.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consilium_ledger::CheckedTransaction;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{ConsentId, Fingerprint, LedgerId, TimeMs, TransactionId};
use consilium_proto::transaction::{Action, ConsentAction, Transaction, TransactionHead};

/// The id of a number.
pub(crate) fn id(number: u16) -> TransactionId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    TransactionId::from_bytes(bytes)
}

/// The number of an id.
pub(crate) fn number(id: &TransactionId) -> u16 {
    u16::from_be_bytes(id.as_bytes()[..2].try_into().unwrap())
}

/// A transaction with a body of so many bytes.
pub(crate) fn transaction(number: u16, bytes: usize) -> CheckedTransaction {
    let transaction = Transaction {
        id: id(number),
        head: TransactionHead {
            ledger_id: LedgerId::from_bytes([0; 32]),
            author: Fingerprint::from_bytes([0; 32]),
            valid_until: TimeMs(0),
            action_count: 1,
            actions_root: Hash::from_bytes([0; 32]),
        },
        signature: [0; 64],
        nonce: [0; 16],
        encoded: vec![Bytes::from(vec![0; bytes])],
        actions: Vec::new(),
        attachments: Vec::new(),
    };
    CheckedTransaction { transaction, verified_under: None }
}

/// A withdrawal.
pub(crate) fn withdrawal(number: u16, bytes: usize) -> CheckedTransaction {
    let mut checked = transaction(number, bytes);
    checked.transaction.actions = vec![Action::Consent(ConsentAction::Revoke(ConsentId([0; 16])))];
    checked
}
