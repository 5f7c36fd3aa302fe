//! Rules that the daemon and the simulator once had each their own of, and that
//! differed. Each was decided once, lives in the replica, and has one test:
//!
//! | # | rule | test |
//! |---|---|---|
//! | 1 | malformed observations count as none; the block counts | `d01_malformed_observations_count_as_none` |
//! | 2 | who lacks certificates below what is in memory gets the boundary's, else the newest | `d02_a_peer_gets_the_certificate_of_the_boundary_else_the_newest` |
//! | 3 | after a change of parameters voting uses the new clock tolerance | `d03_voting_follows_the_clock_tolerance` |
//! | 4 | execution through the cache gives the same as without | `d04_the_cache_changes_nothing` |
//! | 5 | the core knows changed peers in the same turn as the block | `d05_changed_peers_are_known_with_the_block` |
//! | 6 | what is applied is reported to Raft in the same turn | `d06_applied_is_reported_in_the_same_turn` |
//! | 7 | a read on a leader without a quorum is not answered | `d07_a_leader_without_a_quorum_answers_no_read` |
//! | 8 | a block is executed when its check came back, in order | `d08_blocks_are_executed_in_order_of_the_log` |
//! | 9 | certificates and heights of one batch all arrive, in order | `d09_a_batch_arrives_whole_and_in_order` |
//! | 10 | a refused proposal goes back to the queue | `d10_a_refused_proposal_goes_back_to_the_queue` |
//! | 11 | too many blocks without a certificate are refused | `d11_too_many_uncertified_blocks_are_refused` |
//! | 12 | catching up carries attachments | `d12_catching_up_carries_attachments` |
//! | 13 | an epoch's next row counts only if it follows the header | `d13_the_next_epoch_counts_behind_its_boundary_alone` |
//! | 14 | queues are limited; forwarding goes in batches, eight calls at most | `d14_queues_are_limited_by_count`, `d14_queues_are_limited_by_bytes`, `d14_forwarding_goes_in_batches_and_eight_calls_at_most` |
//! | 15 | an orderly stop hands over and proposes nothing more; a requested time block comes when the wall clock has passed | `d15_an_orderly_stop`, `d15_a_requested_time_block` |

mod blocks;
mod certificates;
mod ordering;

use consilium_kit::replica::Replicas;
use consilium_replica::notice::Notice;
use consilium_replica::{Input, Output};

/// Three nodes of a member each, of which the first leads.
fn three() -> Replicas {
    of(&["a.example", "b.example", "c.example"])
}

fn four() -> Replicas {
    of(&["a.example", "b.example", "c.example", "d.example"])
}

/// Members with a node of equal stake each; the first one leads.
fn of(members: &[&str]) -> Replicas {
    let members: Vec<_> = members.iter().map(|id| (*id, 10, 1)).collect();
    let mut net = Replicas::new(&members, |_| {}, |_| {});
    net.elect(1);
    net.said(1);
    net
}

fn is_check(output: &Output) -> bool {
    matches!(output, Output::Check { .. })
}

fn executed(outputs: &[Output]) -> Vec<u64> {
    let height = |output: &Output| match output {
        Output::Executed(block) => Some(block.header.height.0),
        _ => None,
    };
    outputs.iter().filter_map(height).collect()
}

fn certified(outputs: &[Output]) -> Vec<u64> {
    let height = |output: &Output| match output {
        Output::Certified(certified) => Some(certified.header.height.0),
        _ => None,
    };
    outputs.iter().filter_map(height).collect()
}

fn notices(outputs: &[Output]) -> Vec<&Notice> {
    fn notice(output: &Output) -> Option<&Notice> {
        match output {
            Output::Notice(notice) => Some(notice),
            _ => None,
        }
    }
    outputs.iter().filter_map(notice).collect()
}

fn proposed(outputs: &[Output]) -> Vec<usize> {
    let transactions = |notice: &Notice| match notice {
        Notice::Proposed { transactions, .. } => Some(*transactions),
        _ => None,
    };
    notices(outputs).into_iter().filter_map(transactions).collect()
}

fn request_of(input: &Input) -> consilium_replica::RequestId {
    match input {
        Input::Submit { request, .. } => *request,
        other => panic!("{other:?}"),
    }
}
