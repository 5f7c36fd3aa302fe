//! Proof of records, as a node makes it and anybody checks it.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_kit::Ledger;
use consilium_kit::people::{Identity, write_record};
use consilium_ledger::lookup::{RecordProver, prove_record};
use consilium_ledger::{StateReader, Table, keys};
use consilium_proto::ids::{Fingerprint, RecordId};
use consilium_proto::observed::Observed;
use consilium_proto::pb::action::Action;
use consilium_proto::pb::{self, Outcome, RecordVersion};
use consilium_proto::record::{GoodSignatures, KnownSigner, RecordProof, Unproven};
use prost::Message;

const ID: RecordId = RecordId([1; 16]);

/// Three versions of a record and its retraction, each among others, in transactions of many
/// actions and blocks of many transactions.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&[("a.example", 10, 1)], |p| p.epoch_ms = 2_592_000_000);
    let author = Identity::new("a.example", "service", "ehr");
    let enrollment = ledger.enrollment(&author);
    ledger.block(&[enrollment], &Observed::default());
    for version in 1..=4 {
        let write = |id: u8, version: u32| {
            let payload = Bytes::from(format!("payload {id} {version}"));
            (write_record([id; 16], version, "Kind", &payload), Some(payload))
        };
        let own = match version {
            4 => (
                Action::RetractRecord(pb::RetractRecord { record_id: vec![1; 16].into(), version: 3, reason: 0 }),
                None,
            ),
            version => write(1, version),
        };
        let base = version as u8 * 10;
        let transactions = [vec![write(base, 1)], vec![write(base + 1, 1), own, write(base + 2, 1)]];
        let transactions = transactions.map(|writes| {
            let attachments = writes.iter().filter_map(|(_, payload)| payload.clone()).collect();
            let body = ledger.body(writes.into_iter().map(|(action, _)| action).collect());
            ledger.check(&author.sign(body, attachments))
        });
        let executed = ledger.block(&transactions, &Observed::default());
        assert!(executed.leaves.iter().all(|(_, leaf)| leaf.outcome == Outcome::Applied));
    }
    ledger
}

fn version(ledger: &Ledger, number: u32) -> RecordVersion {
    ledger.store.message(Table::Versions, &keys::version(&ID, number)).unwrap()
}

fn prove(ledger: &Ledger, shown: &[RecordVersion]) -> RecordProof {
    let proof = prove_record(&ledger.store, &ledger.tip.header, &ID, shown).unwrap();
    // As it travels.
    let told = pb::RecordProof::decode(pb::RecordProof::from(&proof).encode_to_vec().as_slice()).unwrap();
    RecordProof::try_from(&told).unwrap()
}

fn verify(ledger: &Ledger, proof: &RecordProof, shown: &[RecordVersion]) -> Result<pb::RecordState, Unproven> {
    let signers: BTreeMap<Fingerprint, KnownSigner> = proof
        .signers()
        .into_iter()
        .filter_map(|key| {
            let row = ledger.store.get(Table::State, &keys::signer(&key)).unwrap()?;
            Some((key, KnownSigner::try_from(&pb::SignerState::decode(row).unwrap()).unwrap()))
        })
        .collect();
    proof.verify(&ID, shown, &ledger.tip.header, |key| signers.get(key))
}

#[test]
fn any_versions_are_proven_and_the_others_stay_hidden() {
    let ledger = ledger();
    for shown in [&[1][..], &[2], &[3], &[4], &[1, 2, 3, 4], &[1, 3], &[2, 4], &[1, 4]] {
        let shown: Vec<_> = shown.iter().map(|number| version(&ledger, *number)).collect();
        let row = verify(&ledger, &prove(&ledger, &shown), &shown).unwrap();
        assert_eq!((row.version, row.retracted, row.kind.as_str()), (4, true, "Kind"));
    }
}

/// More transactions than are kept, and several records and versions of some.
#[test]
fn records_of_one_answer_are_proven_as_each_for_itself() {
    let mut ledger = ledger();
    let author = Identity::new("a.example", "service", "ehr");
    for n in 0..20u8 {
        let payloads = [1, 2].map(|part| Bytes::from(format!("payload {n} {part}")));
        let ids = [[0x80 + n; 16], [0xc0 + n; 16]];
        let actions = ids.iter().zip(&payloads).map(|(id, payload)| write_record(*id, 1, "Kind", payload));
        let body = ledger.body(actions.collect());
        let written = ledger.check(&author.sign(body, payloads.to_vec()));
        assert_eq!(ledger.block(&[written], &Observed::default()).leaves[0].1.outcome, Outcome::Applied);
    }
    let (store, tip) = (&ledger.store, &ledger.tip.header);
    let mut prover = RecordProver::new(store, tip);
    for _ in 0..2 {
        let versions = store.0.iter().filter(|((table, _), _)| *table == Table::Versions);
        for (_, row) in versions {
            let shown = [RecordVersion::decode(row.clone()).unwrap()];
            let id = RecordId::parse("record_id", &shown[0].record_id).unwrap();
            assert_eq!(prover.prove(&id, &shown), prove_record(store, tip, &id, &shown));
            let row = keys::record(&id);
            assert_eq!(prover.prove_state(&row).unwrap(), prove_record(store, tip, &id, &shown).unwrap().state_proof);
        }
    }
}

#[test]
fn what_was_not_written_is_not_proven() {
    let ledger = ledger();
    let shown = [version(&ledger, 2)];
    let proof = prove(&ledger, &shown);
    let changed = |change: fn(&mut RecordVersion)| {
        let mut shown = shown.clone();
        change(&mut shown[0]);
        verify(&ledger, &proof, &shown)
    };
    assert_eq!(changed(|_| {}).map(|row| row.version), Ok(4));
    assert_eq!(changed(|v| v.kind = "Other".into()), Err(Unproven::Version));
    assert_eq!(changed(|v| v.time_ms += 1), Err(Unproven::Version));
    assert_eq!(changed(|v| v.author = "spiffe://a.example/service/lab".into()), Err(Unproven::Version));
    assert_eq!(changed(|v| v.retraction = true), Err(Unproven::Version));
    assert_eq!(changed(|v| v.version = 3), Err(Unproven::Order));
    assert_eq!(changed(|v| v.version = 0), Err(Unproven::Order));
    assert_eq!(verify(&ledger, &proof, &[]), Err(Unproven::Count));
    let twice = [shown[0].clone(), shown[0].clone()];
    assert_eq!(verify(&ledger, &proof, &twice), Err(Unproven::Order));
    let unordered = [version(&ledger, 3), version(&ledger, 2)];
    assert_eq!(verify(&ledger, &prove(&ledger, &unordered), &unordered), Err(Unproven::Order));
}

/// Where the state agreed, the author's signature is still asked for.
#[test]
fn nobody_else_can_have_signed_it() {
    let ledger = ledger();
    let (shown, others) = ([version(&ledger, 2)], [version(&ledger, 1)]);
    let honest = prove(&ledger, &shown);
    let with = |change: &dyn Fn(&mut RecordProof)| {
        let mut proof = honest.clone();
        change(&mut proof);
        verify(&ledger, &proof, &shown)
    };
    let other = prove(&ledger, &others).authors.remove(0);
    assert_eq!(with(&|proof| proof.authors.clear()), Err(Unproven::Count));
    assert_eq!(with(&|proof| proof.authors[0] = other.clone()), Err(Unproven::Transaction));
    assert_eq!(with(&|proof| proof.authors[0].action = other.action.clone()), Err(Unproven::Action));
    assert_eq!(with(&|proof| proof.authors[0].signed.signature[0] ^= 1), Err(Unproven::Transaction));
    assert_eq!(with(&|proof| proof.authors[0].leaf_index -= 1), Err(Unproven::Transaction));
    assert_eq!(with(&|proof| proof.contents.truncate(1)), Err(Unproven::Order));
    let key = honest.authors[0].signed.head.author;
    let row = ledger.store.get(Table::State, &keys::signer(&key)).unwrap().unwrap();
    let own = KnownSigner::try_from(&pb::SignerState::decode(row).unwrap()).unwrap();
    let check = |signer: Option<&KnownSigner>| honest.verify(&ID, &shown, &ledger.tip.header, |_| signer).map(drop);
    assert_eq!(check(Some(&own)), Ok(()));
    assert_eq!(check(None), Err(Unproven::Author));
    let renamed = KnownSigner { id: "spiffe://a.example/service/lab".parse().unwrap(), ..own.clone() };
    assert_eq!(check(Some(&renamed)), Err(Unproven::Author));
    let key = Identity::new("a.example", "service", "lab").key.verifying_key();
    assert_eq!(check(Some(&KnownSigner { key: key.clone(), ..own.clone() })), Err(Unproven::Signature));
    // What was found good is good for its transaction, and for no other.
    let mut good = GoodSignatures::default();
    let mut among = |proof: &RecordProof, shown: &[RecordVersion], key: &KnownSigner| {
        proof.verify_among(&ID, shown, &ledger.tip.header, (|_| Some(key), &[], &mut good)).map(drop)
    };
    let (foreign, before) = (KnownSigner { key, ..own.clone() }, prove(&ledger, &others));
    assert_eq!(among(&honest, &shown, &foreign), Err(Unproven::Signature));
    assert_eq!(among(&honest, &shown, &own), Ok(()));
    assert_eq!(among(&honest, &shown, &foreign), Ok(()), "it is not looked at again");
    assert_eq!(among(&before, &others, &foreign), Err(Unproven::Signature));
    assert_eq!(among(&before, &others, &own), Ok(()));
    let mut earlier = ledger.headers.clone();
    let earlier = earlier.remove(2);
    assert_eq!(honest.verify(&ID, &shown, &earlier, |_| None).map(drop), Err(Unproven::State));
}
