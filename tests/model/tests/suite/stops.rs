//! How a liar that led stops the network for good, step by step: each path is one of the model,
//! and the model finds no way on from where it ends, once the liar is silent.

use consilium_model::log::Log;
use consilium_model::moves::{Leader, Move};
use consilium_model::network::{GOES_ON, LEADERS_HAVE, Network, ONE_EXECUTED, SPLIT, STALLED};
use consilium_model::rules::{CandidateCheck, Liar, Rules, Scope};
use consilium_model::state::State;
use stateright::Model;

use crate::paths::{self, A, B, C};

/// Every order of steps, with the nodes by their names.
const SCOPE: Scope = Scope { reduced: false, ..Scope::of(3, 2) };

/// Where a path of the model leads.
#[track_caller]
pub(crate) fn follow(model: &Network, path: &[Move]) -> State {
    path.iter().fold(model.start, |state, step| {
        let mut moves = Vec::new();
        model.actions(&state, &mut moves);
        assert!(moves.contains(step), "{step:?} is not possible in {state:?}");
        model.next_state(&state, *step).unwrap()
    })
}

fn holds(model: &Network, name: &'static str, state: &State) -> bool {
    (model.property(name).condition)(model, state)
}

/// Whether anything more is ever certified, once the liar says nothing any more.
fn goes_on(state: State, rules: Rules) -> bool {
    let scope = Scope::of(4, 4).with(Liar::SILENT);
    Network { rules, scope, start: state }.find(GOES_ON).is_some()
}

/// Two entries of one term, one of which is counted once. That alone stops nobody: who counted
/// has itself elected, and takes the others along.
#[test]
fn two_entries_alone_stop_nobody() {
    let model = Network::new(Rules::AS_CODED, SCOPE);
    let state = follow(&model, &paths::two_entries());
    assert!(goes_on(state, model.rules));
}

/// One node counted an entry, the other two have another one and a later head. Whoever is to
/// lead needs all three: the one refuses what contradicts it, the two refuse what is behind.
#[test]
fn nobody_is_elected_any_more() {
    let model = Network::new(Rules::AS_CODED, SCOPE);
    let state = follow(&model, &[paths::two_entries(), paths::led_by_the_other()].concat());
    assert!(holds(&model, STALLED, &state) && holds(&model, ONE_EXECUTED, &state));
    assert!(!goes_on(state, model.rules));
}

/// From there it goes further, if the liar helps: the other two count, too, and three votes
/// are given for two headers.
#[test]
fn two_entries_are_executed_at_one_index() {
    let model = Network::new(Rules::AS_CODED, SCOPE);
    let path = [paths::two_entries(), paths::led_by_the_other(), paths::counted_by_the_other()].concat();
    let state = follow(&model, &path);
    assert!(holds(&model, SPLIT, &state) && !holds(&model, ONE_EXECUTED, &state));
    assert!(!goes_on(state, model.rules));
}

/// It does not take two entries of one term, nor two acknowledgements: it is enough that a
/// leader replaces an entry that it acknowledged before it was elected.
#[test]
fn a_leader_that_replaces_what_it_had_is_enough() {
    let liar = Liar { terms: 1, acks_once: true, ..Liar::BOUNDLESS };
    let model = Network::new(Rules::AS_CODED, SCOPE.with(liar));
    let state = follow(&model, &paths::replaced());
    assert!(holds(&model, SPLIT, &state) && !holds(&model, ONE_EXECUTED, &state));
    assert!(!goes_on(state, model.rules));
}

/// A node with an entry of a later term stops the others, as far as elections go, although they
/// have certified another one. A check of candidates that goes by terms lets it lead, which
/// helps nobody.
#[test]
fn one_that_lacks_what_is_certified_is_not_elected() {
    let rules = Rules { candidates: CandidateCheck::SameTerm, ..Rules::AS_CODED };
    let model = Network::new(rules, SCOPE);
    let path = paths::lacks_what_is_certified();
    let state = follow(&model, &path);
    assert!(!holds(&model, LEADERS_HAVE, &state) && !goes_on(state, rules));
    let model = Network::new(Rules::AS_CODED, SCOPE);
    let (last, before) = path.split_last().unwrap();
    let state = follow(&model, before);
    let mut moves = Vec::new();
    model.actions(&state, &mut moves);
    assert!(!moves.contains(last) && holds(&model, STALLED, &state) && !goes_on(state, model.rules));
}

/// Without a liar's log in between, whoever is left goes on.
#[test]
fn three_without_the_fourth_go_on() {
    assert!(goes_on(State::default(), Rules::AS_CODED));
    let model = Network::new(Rules::AS_CODED, SCOPE);
    let one = Log::EMPTY.push(1, false);
    let path = [
        Move::Elect { leader: Leader::Liar, term: 1, granters: 1 << A | 1 << B },
        Move::Append { to: A, leader: Leader::Liar, term: 1, log: one },
        Move::Append { to: C, leader: Leader::Liar, term: 1, log: one },
        Move::Count { node: C, len: 1 },
    ];
    assert!(goes_on(follow(&model, &path), model.rules));
}
