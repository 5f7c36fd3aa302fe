//! Answers while blocks are being written: each is of one block, whole.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use consilium_ledger::{Row, Table, keys};
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{EncryptionKeyState, KeyWrapRef, RecordState, RecordVersion, ReleasedRecord};
use consilium_proto::state_tree::verify_state_proof;
use prost::Message;

use super::super::ledger::prove_state;
use super::super::record_reader::RecordReader;
use super::read;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::snapshot::tests::{Chain, row};

const BLOCKS: u64 = 300;
const ID: RecordId = RecordId([7; 16]);
const KEY: KeyId = KeyId::from_bytes([9; 32]);

fn put(table: Table, key: Vec<u8>, message: &impl Message) -> Row {
    row(table, key, Some(message.encode_to_vec().into()))
}

fn number(height: u64) -> Option<Bytes> {
    Some(height.to_be_bytes().to_vec().into())
}

/// Version `height` of the record for its readers; the payload and the wrap of
/// the version before are erased with the same block.
fn version(height: u64, owner: &str) -> Vec<Row> {
    let number_now = u32::try_from(height).unwrap();
    let before = number_now - 1;
    let state = RecordState { member: "a.example".into(), version: number_now, ..RecordState::default() };
    let wraps = vec![KeyWrapRef { recipient_key_id: KEY.to_bytes(), wrap_sha256: Bytes::new() }];
    let version = RecordVersion { version: number_now, wraps, ..RecordVersion::default() };
    let key = EncryptionKeyState { spiffe_id: owner.into(), ..EncryptionKeyState::default() };
    vec![
        put(Table::State, keys::record(&ID), &state),
        put(Table::State, keys::encryption_key(&KEY), &key),
        put(Table::Versions, keys::version(&ID, number_now), &version),
        row(Table::Payloads, keys::payload(&ID, number_now), number(height)),
        row(Table::Payloads, keys::payload(&ID, before), None),
        row(Table::Wraps, keys::wrap(&ID, number_now, &KEY), number(height)),
        row(Table::Wraps, keys::wrap(&ID, before, &KEY), None),
    ]
}

/// Runs `look` again and again while a thread writes blocks.
async fn while_writing<F: Future<Output = ()>>(
    block: impl Fn(u64) -> Vec<Row> + Send + 'static,
    look: impl Fn(Arc<LedgerStore>) -> F,
) {
    let mut chain = Chain::start();
    chain.write(block(1));
    let store = Arc::clone(&chain.store);
    let done = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while chain.next() < BLOCKS {
                chain.write(block(chain.next()));
            }
            done.store(true, Ordering::Release);
            // The directory lives as long as the chain.
            chain
        }
    });
    while !done.load(Ordering::Acquire) {
        look(Arc::clone(&store)).await;
    }
    look(store).await;
    drop(writer.join().unwrap());
}

#[tokio::test]
async fn a_state_proof_is_of_one_block() {
    let key = keys::roster();
    let block = |height: u64| {
        let others = (0..8u8).map(|i| row(Table::State, vec![1, i], number(height)));
        others.chain([row(Table::State, keys::roster(), number(height))]).collect()
    };
    while_writing(block, |store| {
        let key = key.clone();
        async move {
            let asked = key.clone();
            let (value, proof, header) = read(&store, move |ledger| prove_state(ledger, &asked)).await.unwrap();
            verify_state_proof(&header.state_root, &key, value.as_deref(), &proof).unwrap();
            assert_eq!(value, number(header.height.0));
        }
    })
    .await;
}

/// The newest version with its contents, and the height of the answer.
async fn newest(store: &Arc<LedgerStore>, reader: SpiffeId) -> (ReleasedRecord, u64) {
    let answer = read(store, move |ledger| {
        let state: RecordState = ledger.state(&keys::record(&ID))?.unwrap();
        let version = ledger.message(Table::Versions, &keys::version(&ID, state.version))?.unwrap();
        let (released, missing) = RecordReader::new(ledger, &reader).contents(&ID, version, &state)?;
        assert!(!missing);
        Ok((released, ledger.height().0))
    });
    answer.await.unwrap()
}

#[tokio::test]
async fn a_record_its_payload_and_its_wraps_are_of_the_height_of_the_answer() {
    let reader: SpiffeId = "spiffe://b.example/clinician/guest".parse().unwrap();
    let owner = reader.to_string();
    while_writing(
        move |height| version(height, &owner),
        |store| {
            let reader = reader.clone();
            async move {
                let (released, height) = newest(&store, reader).await;
                let version = released.record.unwrap().version;
                assert_eq!((u64::from(version), Some(released.payload)), (height, number(height)));
                assert_eq!(released.wraps.into_iter().map(|w| w.wrap).collect::<Vec<_>>(), [number(height).unwrap()]);
            }
        },
    )
    .await;
}

/// Whose the key is changes with every block: what is released is what the same
/// block allows.
#[tokio::test]
async fn decision_and_payload_are_of_one_block() {
    let reader: SpiffeId = "spiffe://b.example/clinician/guest".parse().unwrap();
    let owner = reader.to_string();
    let owner =
        move |height: u64| if height.is_multiple_of(2) { owner.clone() } else { "spiffe://c.example/x/y".to_owned() };
    while_writing(
        move |height| version(height, &owner(height)),
        |store| {
            let reader = reader.clone();
            async move {
                let (released, height) = newest(&store, reader).await;
                assert_eq!(!released.wraps.is_empty(), height.is_multiple_of(2), "at height {height}");
            }
        },
    )
    .await;
}
