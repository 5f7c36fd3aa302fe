//! What people are told before they sign, and after.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use consilium_certs::{CaStore, Validity};
use consilium_client::ceremony::{NodeRequest, PartRequest};
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use pb::proposal_topic::Topic as Pb;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::json::snapshot;
use consilium_client::ceremony;

fn topic(topic: Pb) -> Topic {
    Topic::parse(&pb::ProposalTopic { topic: Some(topic) }).unwrap()
}

/// a.example with stake 100 and one node, b.example with 200 and none.
fn present() -> Present {
    let member = |id: &str, stake, nodes| pb::MemberEntry {
        member: Some(pb::MemberState {
            id: id.into(),
            stake,
            status: pb::MemberStatus::Active.into(),
            ..Default::default()
        }),
        nodes,
    };
    let node = pb::NodeState { raft_id: 3, member: "a.example".into(), name: "n1".into(), ..Default::default() };
    Present {
        members: vec![member("a.example", 100, vec![node]), member("b.example", 200, vec![])],
        ..Present::default()
    }
}

fn told(pb: Pb) -> String {
    effects(&topic(pb), &present()).join("\n")
}

fn vote_key() -> Bytes {
    Bytes::copy_from_slice(SigningKey::generate(SignatureAlgorithm::Es256).unwrap().verifying_key().raw())
}

fn ca(dir: &Path, member: &str) -> CaStore {
    let now = OffsetDateTime::now_utc();
    let validity = Validity { not_before: now - Duration::minutes(5), not_after: now + Duration::days(30) };
    CaStore::init(dir, &member.parse().unwrap(), validity).unwrap()
}

/// A member with one node, as it presents itself.
fn part(dir: &Path, id: &str) -> PartRequest {
    let node = NodeRequest {
        name: "n1".into(),
        peer_address: "127.0.0.1:7000".into(),
        client_address: "127.0.0.1:7001".into(),
        vote_key: hex::encode(vote_key()).into_bytes(),
    };
    let ca_pem = ca(&dir.join(id), id).ca().cert_pem().as_bytes().to_vec();
    PartRequest { id: id.into(), display_name: "St Mary".into(), ca_pem, stake: 100, nodes: vec![node] }
}

#[test]
fn standing_of_members_is_told_with_nodes_and_stake() {
    let member = "a.example".to_owned();
    let suspend = told(Pb::SuspendMember(pb::SuspendMember { member: member.clone() }));
    assert!(suspend.contains("cut off in the very block"), "{suspend}");
    assert!(suspend.contains("lose their seats: n1 (raft id 3)"), "{suspend}");
    assert!(suspend.contains("stake of 100 counts in no tally"), "{suspend}");
    let reinstate = told(Pb::ReinstateMember(pb::ReinstateMember { member: member.clone() }));
    assert!(reinstate.contains("all its rights back"), "{reinstate}");
    let remove = told(Pb::RemoveMember(pb::RemoveMember { member, successor: String::new() }));
    assert!(remove.contains("ends for good") && remove.contains("n1 (raft id 3)"), "{remove}");
    let unknown = told(Pb::SuspendMember(pb::SuspendMember { member: "c.example".into() }));
    assert!(unknown.contains("it has none"), "{unknown}");
}

#[test]
fn an_admission_shows_stake_share_ca_and_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let part = ceremony::make_part(part(folder.path(), "new.example")).unwrap();
    let text = told(Pb::AdmitMember(pb::AdmitMember { member: Some(part) }));
    assert!(text.contains("new.example (St Mary) becomes a member."), "{text}");
    assert!(text.contains("a stake of 100, 25.0 % of the 400 then active"), "{text}");
    assert!(text.contains("the CA of new.example, valid until ") && text.contains("SHA-256 "), "{text}");
    assert!(text.contains("n1 joins as a learner: peers 127.0.0.1:7000, clients 127.0.0.1:7001"), "{text}");
}

#[test]
fn a_rotation_says_which_cas_stay_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let ders = |name: &str| -> Vec<Bytes> {
        ca(&folder.path().join(name), "a.example").ca().bundle().to_ders().into_iter().map(Into::into).collect()
    };
    let (old, new) = (ders("old"), ders("new"));
    let mut now = present();
    now.members[0].member.as_mut().unwrap().ca_bundle = old.clone();
    let rotate = |ca_bundle: Vec<Bytes>, without_overlap| {
        let rotate = pb::RotateCaBundle { member: "a.example".into(), ca_bundle, without_overlap };
        effects(&topic(Pb::RotateCaBundle(rotate)), &now).join("\n")
    };
    let both = rotate([old.clone(), new.clone()].concat(), false);
    assert!(both.contains("Stays: the CA") && both.contains("New: the CA") && !both.contains("Goes:"), "{both}");
    assert!(!both.contains("refused"), "{both}");
    let hard = rotate(new.clone(), true);
    assert!(hard.contains("New: the CA") && hard.contains("Goes: the CA") && hard.contains("No CA stays"), "{hard}");
    assert!(!hard.contains("--without-overlap"), "{hard}");
    assert!(rotate(new, false).contains("This will be refused"));
}

#[test]
fn nodes_stake_and_parameters_are_told_with_their_change() {
    let node = pb::NodeDescription {
        name: "n2".into(),
        peer_address: "127.0.0.1:7402".into(),
        client_address: "127.0.0.1:7401".into(),
        vote_key: vote_key(),
    };
    let register = pb::RegisterNode { member: "a.example".into(), node: Some(node.clone()) };
    assert!(told(Pb::AddNode(register)).contains("n2 becomes a node of a.example"));
    let replace = told(Pb::ReplaceNode(pb::ReplaceNode { raft_id: 3, node: Some(node) }));
    assert!(replace.contains("Node a.example/n1 (raft id 3) retires for good"), "{replace}");
    assert!(replace.contains("Peers reach it at 127.0.0.1:7402, clients at 127.0.0.1:7401"), "{replace}");
    assert!(told(Pb::RetireNode(pb::RetireNode { raft_id: 9 })).contains("with raft id 9"));
    let allot = told(Pb::AllotStake(pb::AllotStake { member: "a.example".into(), stake: 50 }));
    assert!(allot.contains("from 100 to 50, 20.0 % of the 250 then active"), "{allot}");
    assert!(allot.contains("shrinks first"), "{allot}");

    let mut parameters = recommended_parameters();
    parameters.epoch_ms = 60_000;
    let change = topic(Pb::ChangeParameters(parameters));
    let now = Present { parameters: Some(recommended_parameters()), ..present() };
    assert_eq!(effects(&change, &now), ["epoch_ms goes from 3600000 to 60000."]);
    let same = Present { parameters: Some(parameters), ..present() };
    assert_eq!(effects(&change, &same), ["Nothing changes: these parameters are in force."]);
    assert_eq!(effects(&change, &present()).len(), 28, "without the present ones, all are told");
}

#[test]
fn policies_penalties_and_versions_are_told() {
    let text = told(Pb::SetAccessPolicy(pb::SetAccessPolicy { text: "permit\nall".into() }));
    assert!(text.contains("10 bytes in 2 lines"), "{text}");
    let lift = topic(Pb::LiftPenalty(pb::LiftPenalty { penalty: 2 }));
    let penalty =
        pb::PenaltyState { node: 3, member: "a.example".into(), evidence_height: 8, cut: 20, ..Default::default() };
    let told_lift = |penalty| effects(&lift, &Present { penalty: Some(penalty), ..present() }).join("\n");
    let twice = told_lift(penalty.clone());
    assert!(twice.contains("node a.example/n1 (raft id 3), which signed height 8 twice"), "{twice}");
    let evidence = Some(pb::Equivocation { header: Some(pb::Header::default()), ..Default::default() });
    let root = told_lift(pb::PenaltyState { evidence, ..penalty });
    assert!(root.contains("signed height 8 with a tree root that its header does not have"), "{root}");
    assert_eq!(effects(&lift, &present()).len(), 1);
    let activate = told(Pb::ActivateProtocol(pb::ActivateProtocol { version: 2, height: 900 }));
    assert!(activate.contains("From height 900 on, the rules of version 2 hold."), "{activate}");
}

fn tally() -> pb::Tally {
    let line = |member: &str, stake| pb::TallyLine { member: member.into(), stake, choice: 0 };
    let lines = vec![line("a.example", 100), line("b.example", 200)];
    pb::Tally { total: 300, numerator: 2, denominator: 3, needed: 201, lines, ..Default::default() }
}

#[test]
fn a_tally_with_a_say_shows_what_is_left() {
    let with = tally::with(tally(), "a.example", pb::BallotChoice::Approve);
    assert_eq!((with.approving, with.rejecting), (100, 0));
    let expected = "accepted with more than 2/3 of 300 stake: 201 or more\n\
         in favour 100, against 0: 101 more are needed\n\n\
         MEMBER     STAKE  SAYS\na.example  100    approve\nb.example  200    -\n";
    assert_eq!(tally::text(&with, true), expected);
    assert!(tally::text(&with, false).contains("in favour 100, against 0\n"), "a closed vote has no outlook");
    // A later ballot replaces the earlier one.
    let with = tally::with(with, "a.example", pb::BallotChoice::Reject);
    assert_eq!((with.approving, with.rejecting), (0, 100));
    assert!(tally::text(&with, true).contains("not left: it cannot be accepted"), "{}", tally::text(&with, true));
    let all = tally::with(with, "a.example", pb::BallotChoice::Approve);
    let all = tally::with(all, "b.example", pb::BallotChoice::Approve);
    assert!(tally::text(&all, true).contains("that is enough"), "{}", tally::text(&all, true));
    // The target of a suspension has no line, and its say changes nothing.
    assert_eq!(tally::with(tally(), "c.example", pb::BallotChoice::Approve), tally());
}

/// Node 3 leaves, and nobody could be seated after it.
fn arithmetic() -> pb::QuorumArithmetic {
    let power = |part| Some(pb::CertifyingPower { part, total: 400, numerator: 2, denominator: 3 });
    pb::QuorumArithmetic { now: power(400), after: power(300), leaving: vec![3], next: None, next_seats: 0 }
}

#[test]
fn what_the_node_says_is_told_for_each_topic() {
    let leaving = |seated| vec![pb::LeavingNode { raft_id: 3, seated, delegated: 40 }];
    let said = |pb: Pb, preview: pb::PreviewProposalResponse| remarks(&topic(pb), &present(), &preview);
    let retire = |seated| {
        let preview = pb::PreviewProposalResponse { leaving: leaving(seated), ..Default::default() };
        said(Pb::RetireNode(pb::RetireNode { raft_id: 3 }), preview).join("\n")
    };
    assert!(retire(true).contains("retires with the end of the epoch"), "{}", retire(true));
    assert!(retire(false).contains("retires at once") && retire(false).contains("The stake of 40 on it unbonds."));
    let preview = pb::PreviewProposalResponse { leaving: leaving(true), ..Default::default() };
    let remove =
        said(Pb::RemoveMember(pb::RemoveMember { member: "a.example".into(), successor: "b.example".into() }), preview);
    assert_eq!(
        remove,
        ["Node a.example/n1 (raft id 3) retires; the stake of 40 that other members have on it unbonds."]
    );
    let preview = pb::PreviewProposalResponse { bound_stake_taken: 80, ..Default::default() };
    let allot = said(Pb::AllotStake(pb::AllotStake { member: "a.example".into(), stake: 20 }), preview);
    assert_eq!(allot, ["80 of it is not free: it is taken from what waits, unbonds or is delegated."]);
    let rules = pb::GetRulesResponse {
        protocol: Some(pb::ProtocolState { version: 1, next_version: 2, next_height: 9 }),
        ..Default::default()
    };
    let activate = topic(Pb::ActivateProtocol(pb::ActivateProtocol { version: 2, height: 900 }));
    let now = Present { rules: Some(rules), ..present() };
    let joins = pb::PreviewProposalResponse { joining: vec![5], seats_won: vec![3], ..Default::default() };
    let expected = [
        "A node joins under raft id 5.",
        "Version 1 of the rules is in force.",
        "Until now version 2 was to follow at height 9.",
        "The next election seats node a.example/n1 (raft id 3) because of this.",
    ];
    assert_eq!(remarks(&activate, &now, &joins), expected);
}

#[test]
fn a_refusal_is_told_with_its_fact_or_the_arithmetic() {
    let with = |outcome: pb::Outcome| pb::PreviewProposalResponse {
        refusal: Some(pb::PreviewRefusal { outcome: outcome.into(), fact: "a.example is not suspended".into() }),
        arithmetic: Some(arithmetic()),
        ..Default::default()
    };
    let text = refusal(&with(pb::Outcome::ProposalRefused), &present()).unwrap();
    assert_eq!(text, "it does not fit the present state: a.example is not suspended");
    let text = refusal(&with(pb::Outcome::WouldStrandNetwork), &present()).unwrap();
    assert!(text.starts_with("the network could not go on: certifies now: 400 of 400, needs more than 266;"), "{text}");
    assert_eq!(refusal(&pb::PreviewProposalResponse::default(), &present()), None);
}

#[test]
fn the_plan_tells_what_is_signed_and_marks_what_the_node_says() {
    let suspend = topic(Pb::SuspendMember(pb::SuspendMember { member: "b.example".into() }));
    let preview = pb::PreviewProposalResponse {
        arithmetic: Some(arithmetic()),
        seats_lost: vec![3],
        tally: Some(tally()),
        ..Default::default()
    };
    let text = plan(&suspend, &present(), &preview, "a.example", "keys\nstolen", 0);
    let positions = [
        "proposal: suspend b.example, vote until 1970-01-01T00:00:00Z",
        "reason: keys\\u{a}stolen",
        "what it does, told from what is signed:",
        "  - b.example is cut off",
        "what the node says about the present state:",
        "  - Node a.example/n1 (raft id 3) loses its seat: the epoch ends with that block",
        "  - The next election would seat node a.example/n1 (raft id 3) without this",
        "  - certifies now: 400 of 400, needs more than 266; without a.example/n1 (raft id 3): 300 of 400, needs more \
         than 266; next epoch: nobody could be seated",
        "the tally as the node counts it, with the approval of a.example:",
        "in favour 100",
    ]
    .map(|part| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text}")));
    assert!(positions.is_sorted());
    assert!(!text.contains('\u{1b}'));
}

fn answer(status: pb::ProposalStatus, time_ms: u64) -> pb::GetProposalResponse {
    let topic =
        pb::ProposalTopic { topic: Some(Pb::SetAccessPolicy(pb::SetAccessPolicy { text: "permit (all);".into() })) };
    let proposal = pb::ProposalState {
        number: 7,
        proposer: "spiffe://a.example/admin/anna".into(),
        topic: Some(topic),
        reason: "tidy".into(),
        opened_height: 40,
        expires_ms: 60_000,
        status: status.into(),
        closed_height: if status == pb::ProposalStatus::Open { 0 } else { 44 },
        closing_tally: None,
        failure: if status == pb::ProposalStatus::Failed { "it moved on".into() } else { String::new() },
        ..Default::default()
    };
    pb::GetProposalResponse { proposal: Some(proposal), tally: Some(tally()), time_ms }
}

#[test]
fn a_proposal_past_its_time_is_expired_and_closed_ones_say_where() {
    use pb::ProposalStatus as Status;
    let status = |s, time_ms| ProposalView::new(&answer(s, time_ms), None).unwrap().status;
    assert_eq!([status(Status::Open, 60_000), status(Status::Open, 60_001)], ["open", "expired"]);
    assert_eq!([status(Status::Executed, 60_001), status(Status::Cancelled, 0)], ["executed", "cancelled"]);
    let failed = ProposalView::new(&answer(Status::Failed, 0), None).unwrap();
    assert!(failed.text().contains("closed at height 44\n") && failed.text().contains("failed because: it moved on"));
    assert!(after(&failed).contains("it failed because it moved on"));
    let open = ProposalView::new(&answer(Status::Open, 0), None).unwrap();
    assert!(after(&open).contains("consilium governance vote 7 approve"));
    assert!(ProposalView::new(&pb::GetProposalResponse::default(), None).is_err());
}

#[test]
fn views_are_tables_for_people_and_fields_for_scripts() {
    let view = ProposalView::new(&answer(pb::ProposalStatus::Open, 0), Some(&present())).unwrap();
    assert!(view.text().contains("the access policy:\n  | permit (all);\nas a file, to test it"), "{}", view.text());
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["policy"], "permit (all);");
    assert_eq!(json["tally"]["lines"][1]["stake"], 200);
    assert_eq!(json.get("closed_height"), None);
    let listed = ProposalView::new(&answer(pb::ProposalStatus::Open, 0), None).unwrap();
    assert!(serde_json::to_value(&listed).unwrap().get("effects").is_none());
    let table = view::proposal_table(&[listed]);
    assert!(table.contains("7       open    set the access policy  0 of 201 needed"), "{table}");
    assert_eq!(view::proposal_table(&[]), "no proposals\n");

    let table = view::member_tables(&present().members);
    assert!(table.contains("a.example        active  100    -"), "{table}");
    assert!(table.contains("3   a.example/n1  unknown"), "{table}");
    let rules = view::rules_text(&pb::GetRulesResponse {
        parameters: Some(recommended_parameters()),
        protocol: Some(pb::ProtocolState { version: 1, next_version: 2, next_height: 9 }),
        access_policy: None,
    });
    assert!(rules.contains("the default access policy is in force"), "{rules}");
    assert!(rules.contains("epoch_ms") && rules.contains("version 2 from height 9 on"), "{rules}");
}

#[test]
fn scripts_get_proposals_members_and_rules() {
    let view = || ProposalView::new(&answer(pb::ProposalStatus::Executed, 0), Some(&present())).unwrap();
    snapshot::check("proposal", &view());
    snapshot::check("proposals", &[ProposalView::new(&answer(pb::ProposalStatus::Failed, 0), None).unwrap()]);
    snapshot::check("proposal-changed", &DoneView { transaction: crate::tests::submitted(), proposal: view() });
    snapshot::check("members", &Many(present().members));
    let rules = pb::GetRulesResponse {
        parameters: Some(recommended_parameters()),
        protocol: Some(pb::ProtocolState { version: 1, next_version: 2, next_height: 9 }),
        access_policy: None,
    };
    snapshot::check("rules", &One(rules));
}
