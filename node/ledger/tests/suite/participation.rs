//! Presence: which votes count, who misses, who is jailed for it and how that
//! ends.

use std::collections::{BTreeMap, BTreeSet};

use consilium_kit::{Action, Ledger, MemberSpec, START, reason, release, seats};
use consilium_ledger::{Event, Events, unseen_nodes};
use consilium_proto::ids::NodeId;
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, JailReason, NotSeatedReason, Outcome};
use consilium_proto::vote::{BlockCertificate, Vote};

const ALL: [u64; 4] = [1, 2, 3, 4];
const FOUR: [MemberSpec<'static>; 4] =
    [("a.example", 100, 1), ("b.example", 100, 1), ("c.example", 100, 1), ("d.example", 100, 1)];

/// Windows of 4 blocks, 5 to an epoch.
fn four() -> Ledger {
    Ledger::new(&FOUR, |p| {
        p.epoch_blocks = 20;
        p.miss_window_blocks = 4;
        p.jail_missed_percent = 50;
    })
}

fn seen(ledger: &Ledger) -> Vec<u64> {
    ledger.participation().nodes.iter().filter(|n| n.seen_in_window).map(|n| n.node).collect()
}

fn votes(votes: Vec<Vote>) -> Observed {
    Observed { votes, ..Observed::default() }
}

fn maintenance(node: u64, from_ms: u64, until_ms: u64) -> Action {
    Action::AnnounceMaintenance(pb::AnnounceMaintenance { node, from_ms, until_ms })
}

#[test]
fn votes_in_and_beside_the_certificate_count() {
    let mut ledger = four();
    let unseen: BTreeSet<NodeId> = [3, 4].map(NodeId).into();
    let mut observed = ledger.seen(&[1]);
    observed.votes.push(ledger.vote(2, &ledger.tip.header));
    let executed = ledger.block(&[], &observed);
    assert_eq!(seen(&ledger), [1, 2]);
    assert_eq!(executed.events, [Event::Unseen(unseen.clone())].into_iter().collect());
    assert_eq!(unseen_nodes(&ledger.store).unwrap(), unseen);
    // Nothing new: no row changes, and the state stays as it was.
    let root = ledger.tip.header.state_root;
    let observed = ledger.seen(&[1, 2]);
    let executed = ledger.block(&[], &observed);
    assert_eq!((executed.events, ledger.tip.header.state_root), (Events::default(), root));
}

#[test]
fn votes_that_prove_nothing_do_not_count() {
    let mut ledger = four();
    let tip = ledger.tip.header.clone();
    let good = ledger.vote(1, &tip);
    let other = consilium_proto::header::Header { time: consilium_proto::ids::TimeMs(1), ..tip.clone() };
    let forged = Vote { signature: [1; 64], ..good.clone() };
    let of_another = Vote { validator: NodeId(2), ..good.clone() };
    let of_a_stranger = Vote { validator: NodeId(77), ..good.clone() };
    let of_another_header = Vote { header_hash: other.hash(), ..good.clone() };
    let signed_another_header = ledger.vote(1, &other);
    let of_the_future = Vote { height: tip.height.next(), ..good.clone() };
    let cases = vec![forged, of_another, of_a_stranger, of_another_header, signed_another_header, of_the_future];
    ledger.block(&[], &votes(cases));
    assert!(seen(&ledger).is_empty());
    // The same in a certificate: a wrong signature, and a wrong header.
    let signatures = BTreeMap::from([(NodeId(1), [1; 64]), (NodeId(2), good.signature)]);
    let certificate = Some(BlockCertificate::new(tip.height, tip.hash(), signatures.clone()));
    ledger.block(&[], &Observed { certificate, ..Observed::default() });
    let certificate = Some(BlockCertificate::new(tip.height, other.hash(), signatures));
    ledger.block(&[], &Observed { certificate, ..Observed::default() });
    assert!(seen(&ledger).is_empty());
}

/// A vote over a block up to a window before this one counts, an older one does not.
#[test]
fn old_votes_do_not_count() {
    let mut ledger = four();
    ledger.run(8, &[]);
    // Height 9: the window began at 9; a vote over block 5 is the oldest that counts.
    assert_eq!((ledger.tip.header.height.0, ledger.participation().window_start), (9, 9));
    let observed = votes(vec![ledger.vote(1, &ledger.headers[4]), ledger.vote(2, &ledger.headers[5])]);
    ledger.block(&[], &observed);
    assert_eq!(seen(&ledger), [2]);
}

/// In a new epoch, only votes over the block that ended the last one, or higher.
#[test]
fn votes_of_the_epoch_before_do_not_count() {
    let mut ledger = four();
    ledger.end_epoch(&ALL);
    let boundary = ledger.tip.header.height.0 as usize;
    let observed =
        votes(vec![ledger.vote(1, &ledger.headers[boundary - 1]), ledger.vote(2, &ledger.headers[boundary])]);
    ledger.block(&[], &observed);
    assert_eq!(seen(&ledger), [2]);
}

#[test]
fn who_misses_more_than_its_share_is_jailed_and_released() {
    let mut ledger = four();
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!((seats(&epoch), reason(&epoch, 4)), (vec![1, 2, 3], NotSeatedReason::Jailed));
    let standing = ledger.standing(4);
    assert_eq!((standing.jailed(), standing.jailed_epoch), (JailReason::MissedVotes, 1));
    assert_eq!(ledger.submit("a.example", release(4)), Outcome::NotOwner);
    assert_eq!(ledger.submit("d.example", release(4)), Outcome::ReleaseTooEarly);
    assert_eq!(ledger.submit("d.example", release(9)), Outcome::NodeNotFound);
    assert_eq!(ledger.submit("c.example", release(3)), Outcome::NotJailed);
    // Back and voting, but jailed: not seated until its member asks.
    let epoch = ledger.end_epoch(&ALL);
    assert_eq!(reason(&epoch, 4), NotSeatedReason::Jailed);
    assert_eq!(ledger.submit("d.example", release(4)), Outcome::Applied);
    assert_eq!(ledger.standing(4).jailed(), JailReason::Unspecified);
    assert_eq!(ledger.submit("d.example", release(4)), Outcome::NotJailed);
    assert_eq!(seats(&ledger.end_epoch(&ALL)), ALL);
}

/// Half of the windows is not more than half.
#[test]
fn who_is_there_often_enough_is_not_jailed() {
    let mut ledger = Ledger::new(&FOUR, |p| {
        p.epoch_blocks = 16;
        p.miss_window_blocks = 4;
        p.jail_missed_percent = 50;
    });
    // Block 1 enrolled the administrators; then two windows with and two without.
    ledger.run(7, &ALL);
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!(seats(&epoch), ALL);
    assert_eq!(ledger.standing(4), pb::ValidatorStandingState::default());
    ledger.run(7, &ALL);
    ledger.run(1, &ALL);
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), ALL);
    ledger.run(4, &ALL);
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), [1, 2, 3]);
}

/// An epoch with fewer than two whole windows jails nobody.
#[test]
fn a_short_epoch_jails_nobody() {
    let mut ledger = Ledger::new(&FOUR, |p| {
        p.epoch_blocks = 7;
        p.miss_window_blocks = 4;
        p.jail_missed_percent = 1;
    });
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), ALL);
    assert_eq!(ledger.standing(4).jailed(), JailReason::Unspecified);
}

#[test]
fn announced_maintenance_is_no_miss() {
    let mut ledger = four();
    let (start, end) = (START + 3_000, START + 22_000);
    assert_eq!(ledger.submit("a.example", maintenance(4, start, end)), Outcome::NotOwner);
    assert_eq!(ledger.submit("d.example", maintenance(4, START, end)), Outcome::MaintenanceRefused);
    assert_eq!(ledger.submit("d.example", maintenance(4, START + 5_000, end)), Outcome::Applied);
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!(seats(&epoch), ALL);
    assert_eq!(ledger.participation().windows, 0);
    assert_eq!(ledger.standing(4).jailed(), JailReason::Unspecified);
    // The next epoch is beyond it: what it misses there counts.
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!(reason(&epoch, 4), NotSeatedReason::Jailed);
}

/// Only the windows that the absence touches are excused.
#[test]
fn maintenance_excuses_only_its_windows() {
    let mut ledger = four();
    // Windows end with blocks 4, 8, 12, 16, 20, at as many seconds.
    assert_eq!(ledger.submit("d.example", maintenance(4, START + 6_000, START + 9_000)), Outcome::Applied);
    ledger.run(17, &[1, 2, 3]);
    let missed = |ledger: &Ledger, node| {
        ledger.participation().nodes.iter().find(|n| n.node == node).map_or(0, |n| n.missed_windows)
    };
    // The first, and the fourth; the second and third are touched.
    assert_eq!((ledger.participation().windows, missed(&ledger, 4), missed(&ledger, 1)), (4, 2, 0));
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!(reason(&epoch, 4), NotSeatedReason::Jailed);
}

/// A node without a seat is no absentee, and is elected once it is seen.
#[test]
fn a_learner_is_elected_once_it_is_seen() {
    let members = [("a.example", 100, 1), ("b.example", 100, 1), ("c.example", 100, 1), ("d.example", 50, 1)];
    let mut ledger = Ledger::new(&members, |p| {
        p.epoch_blocks = 20;
        p.miss_window_blocks = 4;
        p.max_validators = 3;
        p.hysteresis_percent = 0;
    });
    let epoch = ledger.end_epoch(&[1, 2, 3, 4]);
    assert_eq!((seats(&epoch), reason(&epoch, 4)), (vec![1, 2, 3], NotSeatedReason::Outranked));
    ledger.submit("a.example", consilium_kit::redelegate(1, 4, 60));
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!((seats(&epoch), reason(&epoch, 4)), (vec![1, 2, 3], NotSeatedReason::NotCaughtUp));
    assert_eq!(ledger.standing(4).jailed(), JailReason::Unspecified);
    let observed = votes(vec![ledger.vote(4, &ledger.tip.header)]);
    ledger.block(&[], &observed);
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), [2, 3, 4]);
}
