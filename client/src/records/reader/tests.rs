#![allow(clippy::unwrap_used)]
use super::*;

fn history() -> Vec<pb::RecordVersion> {
    let mut versions: Vec<pb::RecordVersion> = Vec::new();
    for number in 1..=3 {
        let previous_sha256 = match versions.last() {
            Some(v) => Bytes::copy_from_slice(&sha256(&[&v.encode_to_vec()])),
            None => Bytes::new(),
        };
        versions.push(pb::RecordVersion {
            record_id: vec![5; 16].into(),
            version: number,
            kind: "Observation".into(),
            previous_sha256,
            ..Default::default()
        });
    }
    versions
}

#[test]
fn histories_are_chained() {
    let id = RecordId([5; 16]);
    assert_eq!(check_history(id, &history()), Ok(()));
    let mut changed = history();
    changed[1].kind = "Condition".into();
    let error = check_history(id, &changed).unwrap_err();
    assert_eq!(error.to_string(), "verification failed: version 3 does not follow the one before it");
    let mut gap = history();
    gap.remove(0);
    assert!(check_history(id, &gap).is_err());
    assert!(check_history(RecordId([6; 16]), &history()).is_err());
}

#[test]
fn answers_must_be_about_the_question() {
    let record = history().remove(1);
    assert!(checked_record(RecordId([5; 16]), Some(2), Some(&record)).is_ok());
    assert!(checked_record(RecordId([5; 16]), None, Some(&record)).is_ok());
    assert!(checked_record(RecordId([5; 16]), Some(1), Some(&record)).is_err());
    assert!(checked_record(RecordId([6; 16]), None, Some(&record)).is_err());
    assert!(checked_record(RecordId([5; 16]), None, None).is_err());
}
