//! What waits for a custodian, and in which order it is done: emergencies first, whatever came
//! before them and however much.

use std::collections::BTreeMap;

use consilium_proto::names::MemberId;

use super::WrapRequest;

/// Requests of several members' lists.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<(MemberId, WrapRequest)>,
    /// Of each list, the number after the last request that was seen.
    next: BTreeMap<MemberId, u64>,
}

impl Queue {
    /// From which number on a list is to be asked for.
    pub(super) fn next(&self, member: &MemberId) -> u64 {
        self.next.get(member).copied().unwrap_or(0)
    }

    /// Adds what a list has from there on.
    pub(super) fn add(&mut self, member: &MemberId, requests: Vec<WrapRequest>) {
        if let Some(last) = requests.last() {
            self.next.insert(member.clone(), last.number.saturating_add(1));
        }
        self.waiting.extend(requests.into_iter().map(|request| (member.clone(), request)));
    }

    /// Takes what is to be done next, at most so much: all emergencies before the rest, and
    /// otherwise what was asked for earlier first.
    pub(super) fn take(&mut self, max: usize) -> Vec<(MemberId, WrapRequest)> {
        self.waiting.sort_by_key(|(_, request)| (request.state.emergency_id.is_empty(), request.state.time_ms));
        let count = max.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::pb;

    use super::*;

    fn request(number: u64, emergency: bool) -> WrapRequest {
        let emergency_id = if emergency { vec![1; 16].into() } else { Vec::new().into() };
        let state = pb::WrapRequestState { emergency_id, time_ms: number, ..pb::WrapRequestState::default() };
        WrapRequest { number, state, own_wrap: pb::KeyWrap::default() }
    }

    #[test]
    fn emergencies_go_first_also_those_that_come_while_the_rest_is_worked_on() {
        let [a, b]: [MemberId; 2] = ["a.example", "b.example"].map(|id| id.parse().unwrap());
        let mut queue = Queue::default();
        queue.add(&a, (0..300).map(|number| request(number, false)).collect());
        queue.add(&a, vec![request(300, true)]);
        let first = queue.take(64);
        assert_eq!((first.len(), first[0].1.number, first[1].1.number), (64, 300, 0));
        assert_eq!((queue.next(&a), queue.next(&b)), (301, 0));
        queue.add(&b, vec![request(7, true)]);
        let second = queue.take(64);
        assert_eq!((&second[0].0, second[0].1.number, second[1].1.number), (&b, 7, 63));
        assert_eq!((queue.take(1_000).len(), queue.take(1).len()), (174, 0));
    }
}
