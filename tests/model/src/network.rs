//! The model as the checker takes it: where it starts, what can happen, and what must hold.

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use crate::log::Log;
use crate::moves::{Move, would_grant};
use crate::rules::{Rules, Scope};
use crate::state::{HONEST, State};

/// All that is certified is on one chain.
pub const ONE_CERTIFICATE: &str = "there is one certificate at a height";
/// What a node counted stays in its log.
pub const COUNTED_STAYS: &str = "what was counted stays";
/// Heads of one term that are counted are on one chain.
pub const ONE_IN_A_TERM: &str = "one entry is counted at an index in a term";
/// What is executed, in whatever terms it was counted, is on one chain.
pub const ONE_EXECUTED: &str = "one entry is executed at an index";
/// Honest leaders have what is certified.
pub const LEADERS_HAVE: &str = "whoever is elected has what is certified";
/// Two honest nodes voted for two headers: without the liar there is no certificate of that
/// height any more.
pub const SPLIT: &str = "votes are split";
/// No node gets the grants of all others: without the liar there is no leader any more.
pub const STALLED: &str = "nobody can be elected";
/// More is certified than at the beginning.
pub const GOES_ON: &str = "something is certified";

/// The model.
#[derive(Clone, Debug)]
pub struct Network {
    /// What honest nodes do.
    pub rules: Rules,
    /// What is looked at.
    pub scope: Scope,
    /// Where it begins.
    pub start: State,
}

impl Network {
    /// From the beginning.
    #[must_use]
    pub fn new(rules: Rules, scope: Scope) -> Self {
        Self { rules, scope, start: State::default() }
    }

    /// Looks at everything that can happen.
    #[must_use]
    pub fn explore(self) -> impl Checker<Self> {
        self.checker().threads(2).spawn_bfs().join()
    }

    /// Looks until it sees what is named happen, or not hold; `None` if it never is so.
    #[must_use]
    pub fn find(self, name: &'static str) -> Option<Path<State, Move>> {
        let until = HasDiscoveries::AnyOf([name].into());
        self.checker().threads(2).finish_when(until).spawn_bfs().join().discovery(name)
    }

    fn goes_on(&self, state: &State) -> bool {
        let before = certified(self, &self.start);
        certified(self, state).iter().any(|it| !before.contains(it))
    }
}

fn certified(model: &Network, state: &State) -> Vec<Log> {
    state.certified(&model.rules, &model.scope.liar)
}

fn stalled(model: &Network, state: &State) -> bool {
    let grants = |granter: usize, at: usize| would_grant(&state.nodes[granter], &state.nodes[at], &model.rules);
    let refuses = |granter: usize, at: usize| granter != at && !grants(granter, at);
    (0..HONEST).all(|at| (0..HONEST).any(|granter| refuses(granter, at)))
}

fn split(state: &State) -> bool {
    let [one, other, third] = &state.nodes;
    [(one, other), (one, third), (other, third)].iter().any(|(one, other)| {
        let votes = one.voted.iter().zip(&other.voted);
        votes.filter(|(one, other)| !one.is_empty() && !other.is_empty()).any(|(one, other)| one != other)
    })
}

impl Model for Network {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![self.start]
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        self.elections(state, moves);
        self.appends(state, moves);
        self.of_nodes(state, moves);
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        let Self { rules, scope, .. } = self;
        let mut next = *state;
        match action {
            Move::Elect { leader, term, granters } => next.elect(leader, term, granters, (rules, &scope.liar)),
            Move::Propose { leader } => next.propose(leader),
            Move::Append { to, term, log, .. } => {
                next.append(to, term, log, rules);
            }
            Move::Count { node, len } => next.count(node, len, rules, &scope.liar),
            Move::Adopt { node, log } => next.adopt(node, log),
            Move::Forget { node } => next.forget(node),
        }
        Some(if scope.reduced { next.forgetting().canonical() } else { next })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_CERTIFICATE, |model, state| {
                let certified = certified(model, state);
                certified.iter().all(|one| certified.iter().all(|other| one.agrees_with(*other)))
            }),
            Property::always(COUNTED_STAYS, |_, state: &State| {
                state.nodes.iter().all(|node| node.log.starts_with(node.counted))
            }),
            Property::always(ONE_IN_A_TERM, |_, state: &State| !state.two_in_a_term),
            Property::always(ONE_EXECUTED, |_, state: &State| {
                state.nodes.iter().all(|one| state.nodes.iter().all(|other| one.counted.agrees_with(other.counted)))
            }),
            Property::always(LEADERS_HAVE, |_, state: &State| !state.elected_without),
            Property::sometimes(SPLIT, |_, state| split(state)),
            Property::sometimes(STALLED, stalled),
            Property::sometimes(GOES_ON, Self::goes_on),
        ]
    }
}
