//! Elections and candidates, as they are shown.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::json::snapshot;
use consilium_client::Claimed;

fn candidate(node: u64, power: u64, reason: pb::NotSeatedReason) -> pb::CandidateState {
    pb::CandidateState {
        node,
        member: "b.example".into(),
        stake: 10 * node,
        self_delegation: 4,
        power,
        reason: reason.into(),
        stake_needed: 55,
    }
}

fn election(current: u64) -> Election {
    let seat = |validator, power| pb::Seat { validator, power, vote_key: Bytes::new() };
    let validators =
        pb::ValidatorSet { seats: vec![seat(1, 6), seat(2, 5)], quorum_numerator: 2, quorum_denominator: 3 };
    let state = pb::EpochState {
        epoch: 3,
        first_height: 90,
        start_ms: 1_000,
        validators: Some(validators),
        candidates: vec![
            candidate(1, 6, pb::NotSeatedReason::Unspecified),
            candidate(2, 5, pb::NotSeatedReason::Unspecified),
            candidate(3, 0, pb::NotSeatedReason::Outranked),
            candidate(4, 0, pb::NotSeatedReason::Jailed),
        ],
        kept_previous: false,
    };
    Election { state, current: Claimed::new(current), ends_ms: Claimed::new(60_000) }
}

#[test]
fn an_election_says_who_was_seated_and_why_others_were_not() {
    let names = BTreeMap::from([(1, "a.example/n1".to_owned())]);
    let text = epoch_text(&epoch_view(&election(3), &names));
    let expected = "epoch 3, from height 90, since 1970-01-01T00:00:01Z, until 1970-01-01T00:01:00Z at the latest\n\
         certified by more than 2/3 of power 11\n\n\
         ID  NODE          POWER  STAKE  OWN  OUTCOME\n\
         1   a.example/n1  6      10     4    seated\n\
         2   b.example     5      20     4    seated\n\
         3   b.example     0      30     4    others have more stake: 55 would be needed, it has 30\n\
         4   b.example     0      40     4    it is jailed\n";
    assert_eq!(text, expected);
}

#[test]
fn a_past_epoch_has_no_end_to_come() {
    let json = serde_json::to_value(epoch_view(&election(4), &BTreeMap::new())).unwrap();
    assert_eq!(json.get("ends"), None);
    assert_eq!(json["total_power"], "11");
    assert_eq!(json["candidates"][0]["not_seated"], serde_json::Value::Null);
    assert_eq!(json["candidates"][3]["not_seated"], "it is jailed");
}

/// The keys and thumbprints are checked where they are made; here, that whoever reads this
/// with a library for JWKs finds what it needs.
#[test]
fn keys_are_shown_as_a_jwk_set() {
    let point = "0465eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d\
                 1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c";
    let mut state = election(3).state;
    let set = state.validators.as_mut().unwrap();
    for seat in &mut set.seats {
        seat.vote_key = hex::decode(point).unwrap().into();
    }
    let names = BTreeMap::from([(1, "a.example/n1".to_owned())]);
    let view = keys_view(&state, &names).unwrap();
    snapshot::check("validator-keys", &view);
    let expected = "epoch 3, from height 90\n\n\
         ID  NODE          POWER  KID\n\
         1   a.example/n1  6      SWvYr63zB-WwjGSwQhv53AFSijRKQ72oj63RZp2iU-w\n\
         2   b.example     5      SWvYr63zB-WwjGSwQhv53AFSijRKQ72oj63RZp2iU-w\n";
    assert_eq!(keys_text(&view), expected);
    // Rows of the state name valid keys only; one that does not is not shown.
    assert!(keys_view(&election(3).state, &names).is_err());
}

#[test]
fn every_reason_has_its_words() {
    use pb::NotSeatedReason as Reason;
    let words: std::collections::BTreeSet<String> = (0..=8)
        .map(|n| Reason::try_from(n).unwrap())
        .map(|reason| reason_text(&candidate(1, 0, reason)).unwrap())
        .collect();
    assert_eq!(words.len(), 9);
}

#[test]
fn candidates_show_standing_and_what_an_election_now_would_bring() {
    let node = |raft_id, status: pb::NodeStatus| pb::NodeState {
        raft_id,
        member: "b.example".into(),
        name: format!("n{raft_id}"),
        status: status.into(),
        ..Default::default()
    };
    let jailed = pb::ValidatorStandingState {
        jailed: pb::JailReason::MissedVotes.into(),
        jailed_epoch: 2,
        maintenance_from_ms: 1_000,
        maintenance_until_ms: 2_000,
        ..Default::default()
    };
    let seen = pb::NodeParticipation { seen_in_epoch: true, missed_windows: 1, ..Default::default() };
    let one = pb::Candidate {
        node: Some(node(1, pb::NodeStatus::Active)),
        stake: 10,
        self_delegation: 4,
        power: 6,
        standing: None,
        participation: Some(seen),
    };
    let four = pb::Candidate {
        node: Some(node(4, pb::NodeStatus::Retiring)),
        stake: 40,
        self_delegation: 4,
        power: 0,
        standing: Some(jailed),
        participation: None,
    };
    let answer = pb::ListCandidatesResponse { candidates: vec![one, four], forecast: Some(election(3).state) };
    let view = candidates_view(&answer);
    let text = candidate_table(&view.candidates);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].ends_with("good") || lines[1].contains("good "), "{text}");
    assert!(lines[1].ends_with("seated, power 6"), "{text}");
    assert!(lines[2].contains("retiring, jailed in epoch 2 for missed votes, away 1970-01-01T00:00:01Z to"), "{text}");
    assert!(lines[2].contains("not seen yet in this epoch") && lines[2].ends_with("it is jailed"), "{text}");
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["candidates"][1]["jailed"], "missed votes");
    assert_eq!(json["candidates"][0]["next_power"], 6);
}

#[test]
fn penalties_are_listed_or_there_are_none() {
    let penalty = pb::PenaltyState {
        number: 2,
        node: 4,
        member: "b.example".into(),
        evidence_height: 7,
        cut: 20,
        height: 9,
        lifted_height: 30,
        evidence: None,
    };
    let text = penalty_table(&[penalty]);
    assert!(text.ends_with("2       4     b.example  7             20         9             lifted at 30\n"), "{text}");
    assert_eq!(penalty_table(&[]), "no penalties\n");
}

#[test]
fn scripts_get_elections_candidates_and_penalties() {
    let names = BTreeMap::from([(1, "a.example/n1".to_owned())]);
    snapshot::check("epoch", &epoch_view(&election(3), &names));
    let node = pb::NodeState { raft_id: 1, member: "a.example".into(), name: "n1".into(), ..Default::default() };
    let candidate = pb::Candidate { node: Some(node), stake: 10, power: 6, ..Default::default() };
    let answer = pb::ListCandidatesResponse { candidates: vec![candidate], forecast: Some(election(3).state) };
    snapshot::check("candidates", &candidates_view(&answer));
    let penalty = pb::PenaltyState { number: 2, node: 4, member: "b.example".into(), cut: 20, ..Default::default() };
    snapshot::check("penalties", &Many(vec![penalty]));
}
