//! Reading without a quorum: own records alone, and the log has it afterwards.

use consilium_client::records::LateRequest;
use consilium_e2e::{eventually, eventually_async};
use consilium_proto::transaction::VersionRef;

use super::*;

/// A clinician's system asks for the record without a quorum: what it keeps, and what it reads.
async fn read_late(user: &User, of: &Hospital) -> Result<(LateRequest, Vec<Vec<u8>>), ClientError> {
    let reader = RecordReader::new(user.client.clone());
    let late = reader.late_request(of.patient, &[VersionRef { record: of.record, version: 0 }])?;
    let opened = reader.read_without_quorum(&late).await?;
    let texts = opened.into_iter().map(|opened| opened.plaintext.map(|plain| plain.to_vec()).unwrap_or_default());
    Ok((late, texts.collect()))
}

/// One that was over before anybody entered it.
fn over(user: &User, of: &Hospital) -> anyhow::Result<LateRequest> {
    let request = pb::RequestAccess { late_ms: 1, ..asks_for(of.patient, of.record) };
    let action = pb::Action { action: Some(pb::action::Action::RequestAccess(request)) };
    let signed = user.client.sign_for(0, vec![action], Vec::new())?;
    Ok(LateRequest::parse(&signed.encode_to_vec(), user.client.genesis().ledger_id)?)
}

/// Whether the first node calls somebody for what the ledger does not take, or not.
async fn is_alarmed(network: &Network, expected: bool) -> Result<(), String> {
    let status = network.status(0).await.map_err(|e| e.to_string())?;
    let raised = status.alarms.iter().any(|alarm| alarm.name == "late_reads_refused");
    if raised == expected { Ok(()) } else { Err(format!("{:?}", status.alarms)) }
}

#[test]
fn without_a_quorum_own_records_are_read_and_the_log_has_it_afterwards() {
    Network::of(3).limits("without_quorum_after = \"2s\"").run(async |network| {
        let of = hospital(network).await?;
        let officer = network.enrolled(0, Role::Auditor, "privacy").await?;
        let foreign = network.enrolled(1, Role::Service, "ehr").await?;
        let (first, second) = (VersionRef { record: of.record, version: 0 }, PurposeOfUse::Treat);
        // With a quorum it is read as ever, only that the reader says when.
        assert_eq!(read_late(&of.keeper, &of).await?.1, [b"what was seen".to_vec()]);
        let before = officer.client.access_log(of.patient, KeptLog::nothing()).await?;
        assert!(before.events.last().expect("it was read").late.is_some());
        network.nodes[1].kill9()?;
        network.nodes[2].kill9()?;

        let ordinary = RecordReader::with(of.keeper.client.clone(), Access::of(second)).waiting(Duration::ZERO);
        let ordinary = tokio::time::timeout(Duration::from_secs(4), ordinary.read(of.patient, &[first])).await;
        assert!(!matches!(ordinary, Ok(Ok(_))), "nothing is certified");
        let (kept_copy, texts) = read_late(&of.keeper, &of).await?;
        assert_eq!(texts, [b"what was seen".to_vec()]);
        // The only node that is up is another member's to this one, and has none of its records.
        let refused = foreign.at(&network.nodes[0]).await;
        if let Ok(client) = refused {
            let reader = RecordReader::new(client);
            assert!(reader.read_without_quorum(&reader.late_request(of.patient, &[first])?).await.is_err());
        }
        // Killed before it could tell anybody.
        network.nodes[0].kill9()?;
        let kept = std::fs::read_dir(network.nodes[0].data_dir.join("late"))?.count();
        assert_eq!(kept, 1);
        // What cannot be read any more keeps no other from the ledger, and calls for somebody.
        let damaged = network.nodes[0].data_dir.join("late").join("ff");
        std::fs::write(damaged.with_extension("request"), b"?")?;
        network.start_all()?;
        let entered = || async {
            let log = officer.client.access_log(of.patient, KeptLog::nothing()).await;
            let log = log.map_err(|e| e.to_string())?;
            let late = log.events.iter().filter(|event| event.late.is_some()).count();
            if late < 2 { Err(format!("{late} are late")) } else { Ok(log) }
        };
        let log = eventually_async("the reading comes into the log", PATIENCE, entered).await?;
        let late = log.events.iter().rfind(|event| event.late.is_some()).expect("it is there");
        assert_eq!(late.reader.to_string(), of.keeper.spiffe_id);
        assert_eq!(late.decisions[0].ground, AccessGround::Custodian);
        assert!(late.late.is_some_and(|at| at < late.time), "it was entered later");
        network.nodes[0].wait_log(&["a read without a quorum is on the ledger now"])?;
        let called = || async { is_alarmed(network, true).await };
        eventually_async("somebody is called", PATIENCE, called).await?;
        std::fs::remove_file(damaged.with_extension("damaged"))?;
        eventually_async("it is over", PATIENCE, || async { is_alarmed(network, false).await }).await?;
        assert_eq!(std::fs::read_dir(network.nodes[0].data_dir.join("late"))?.count(), 0);

        // The reader's copy enters it only once; what is over it signs again.
        let entered = of.keeper.client.enter_late(&kept_copy).await?;
        assert_eq!((entered.transaction_id, entered.height), (kept_copy.transaction_id(), late.height));
        let over = over(&of.keeper, &of)?;
        eventually("it is over", PATIENCE, || (!over.is_valid()).then_some(()).ok_or("not yet"))?;
        let again = of.keeper.client.enter_late(&over).await?;
        assert_ne!(again.transaction_id, over.transaction_id());
        let log = officer.client.access_log(of.patient, KeptLog::nothing()).await?;
        assert_eq!(log.events.iter().filter(|event| event.late.is_some()).count(), 3);
        Ok(())
    });
}
