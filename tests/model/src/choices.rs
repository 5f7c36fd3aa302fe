//! What can happen next. An election is one step, with as many grants as it takes: a grant
//! that elects nobody only takes something from whoever gave it, and so do terms that come to
//! nothing. The liar's grants, acknowledgements and votes are no steps: they are there
//! whenever they help.

use crate::log::Log;
use crate::moves::{Leader, Move, would_grant};
use crate::network::Network;
use crate::state::{HONEST, State};

impl Network {
    pub(crate) fn elections(&self, state: &State, moves: &mut Vec<Move>) {
        let scope = &self.scope;
        // A term that is left out is as one that does not exist, unless entries of it are made up.
        let led = (1..=scope.terms).rev().find(|term| state.has_leader(*term)).unwrap_or_default();
        let closes_gaps = scope.reduced && !scope.liar.makes_up;
        let most = if closes_gaps { scope.terms.min(led + 1) } else { scope.terms };
        for term in 1..=most {
            let over = self.rules.one_grant && state.has_leader(term);
            if !over {
                (0..HONEST).for_each(|at| self.candidacies(state, at, term, moves));
            }
            if scope.liar.speaks && !state.is_liars(term) {
                self.candidacies_of_liar(state, term, over, moves);
            }
        }
    }

    fn may_grant_in(&self, state: &State, at: usize, term: u8) -> bool {
        let node = &state.nodes[at];
        node.term < term || !self.rules.one_grant && node.term == term && !node.leads(term)
    }

    fn candidacies(&self, state: &State, at: usize, term: u8, moves: &mut Vec<Move>) {
        let Self { rules, scope, .. } = self;
        let candidate = &state.nodes[at];
        if candidate.term >= term || candidate.log.len() >= scope.indexes {
            return;
        }
        let others = (0..HONEST).filter(|other| *other != at && self.may_grant_in(state, *other, term));
        let willing = others.filter(|other| would_grant(&state.nodes[*other], candidate, rules));
        let needed = (rules.grant_quorum - 1).saturating_sub(u32::from(scope.liar.speaks));
        let leader = Leader::Honest(at);
        moves.extend(groups(willing, needed).map(|granters| Move::Elect { leader, term, granters }));
    }

    /// Whatever the liar says of its log, it is what the granters want to hear.
    fn candidacies_of_liar(&self, state: &State, term: u8, over: bool, moves: &mut Vec<Move>) {
        let Self { rules, scope, .. } = self;
        let leader = Leader::Liar;
        if !rules.mandates {
            moves.push(Move::Elect { leader, term, granters: 0 });
        } else if !over && state.liar_led.count_ones() < scope.liar.terms {
            let willing = (0..HONEST).filter(|at| self.may_grant_in(state, *at, term));
            let groups = groups(willing, rules.grant_quorum - 1);
            moves.extend(groups.map(|granters| Move::Elect { leader, term, granters }));
        }
    }

    pub(crate) fn appends(&self, state: &State, moves: &mut Vec<Move>) {
        for term in 1..=self.scope.terms {
            for (at, node) in state.nodes.iter().enumerate().filter(|(_, node)| node.leads(term)) {
                let said = node.acked[usize::from(term)];
                let parts = (1..=said.len()).map(|len| said.prefix(len));
                parts.for_each(|log| self.append_to_all(state, (Leader::Honest(at), term), log, moves));
            }
            if state.is_liars(term) && self.scope.liar.speaks {
                let logs = Log::all(self.scope.indexes, term).into_iter();
                let logs = logs.filter(|log| self.has_liar(state, *log) && !self.is_in_vain(term, *log));
                logs.for_each(|log| self.append_to_all(state, (Leader::Liar, term), log, moves));
            }
        }
    }

    /// Whether the liar has these entries. Of two that are alike it takes the first one first.
    fn has_liar(&self, state: &State, log: Log) -> bool {
        (1..=log.len()).map(|len| log.prefix(len)).all(|entry| {
            let (term, second) = (entry.last_term(), entry.variant_at(entry.len()));
            let (liars, honest) = (state.is_liars(term), state.is_honest(term));
            let exists = self.scope.liar.makes_up || liars || honest && !second;
            exists && (!self.scope.reduced || !second || honest || state.knows(entry.sibling()))
        })
    }

    /// Nothing comes of entries of earlier terms behind which nobody is elected any more.
    fn is_in_vain(&self, term: u8, log: Log) -> bool {
        let Self { rules, scope, .. } = self;
        scope.reduced && rules.heads_only && term == scope.terms && log.last_term() < term
    }

    fn append_to_all(&self, state: &State, (leader, term): (Leader, u8), log: Log, moves: &mut Vec<Move>) {
        for to in (0..HONEST).filter(|to| state.nodes[*to].term <= term && Leader::Honest(*to) != leader) {
            let node = &state.nodes[to];
            // What the liar gives in two steps it can give in one; of two that are alike one takes
            // it first.
            let given = leader == Leader::Liar && node.term == term && node.log.last_term() == term;
            let twin = state.nodes[..to].contains(node);
            let left_out = self.scope.reduced && (twin || given && self.rules.keeps_acknowledged);
            if !left_out && state.clone().append(to, term, log, &self.rules) {
                moves.push(Move::Append { to, leader, term, log });
            }
        }
    }

    pub(crate) fn of_nodes(&self, state: &State, moves: &mut Vec<Move>) {
        let Self { rules, scope, .. } = self;
        let certified = state.certified(rules, &scope.liar);
        for (at, node) in state.nodes.iter().enumerate() {
            let leads = node.leads(node.term) && node.log.last_term() == node.term;
            if leads && node.log.len() < scope.indexes {
                moves.push(Move::Propose { leader: at });
            }
            let counts = (1..=node.log.len()).filter(|len| state.may_count(at, *len, rules, &scope.liar));
            moves.extend(counts.map(|len| Move::Count { node: at, len }));
            let others = certified.iter().filter(|it| !it.agrees_with(node.counted));
            moves.extend(others.map(|log| Move::Adopt { node: at, log: *log }));
            if scope.forgets && !node.log.is_empty() {
                moves.push(Move::Forget { node: at });
            }
        }
    }
}

/// All groups of so many, a bit each.
fn groups(of: impl Iterator<Item = usize>, needed: u32) -> impl Iterator<Item = u8> {
    let all = of.fold(0u8, |all, at| all | 1 << at);
    (0..1u8 << HONEST).filter(move |group| group & !all == 0 && group.count_ones() == needed)
}
