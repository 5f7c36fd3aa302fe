//! What nodes have shown of the lists of requests. A request has the block time at which it was
//! permitted: if it waits now and that is before the block at which some node was asked for the
//! whole list, that node should have shown it.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::TimeMs;

use super::List;
use super::requests::WrapPage;

/// The last look at each list.
#[derive(Debug, Default)]
pub(super) struct Looks(BTreeMap<List, Look>);

#[derive(Debug)]
struct Look {
    /// Of the block of the first page: what waited then was to be shown.
    time: TimeMs,
    seen: BTreeSet<u64>,
}

impl Looks {
    /// The number after the last request that was seen in a list.
    pub(super) fn next(&self, list: &List) -> u64 {
        self.0.get(list).and_then(|look| look.seen.last()).map_or(0, |last| last.saturating_add(1))
    }

    /// Adds all pages of a list, and gives how many requests of it the look before must have been
    /// shown, and was not.
    pub(super) fn add(&mut self, list: &List, pages: &[WrapPage]) -> usize {
        let Some(first) = pages.first() else { return 0 };
        let requests = || pages.iter().flat_map(|page| &page.requests);
        let look = Look { time: first.time, seen: requests().map(|request| request.number).collect() };
        let Some(before) = self.0.insert(list.clone(), look) else { return 0 };
        let waited = requests().filter(|request| request.state.time_ms < before.time.0);
        waited.filter(|request| !before.seen.contains(&request.number)).count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::ids::Height;
    use consilium_proto::pb;

    use super::super::requests::WrapRequest;
    use super::*;

    /// At a block time, requests with the times at which they were permitted.
    fn page(time: u64, requests: &[(u64, u64)]) -> WrapPage {
        let request = |(number, time_ms): &(u64, u64)| WrapRequest {
            number: *number,
            state: pb::WrapRequestState { time_ms: *time_ms, ..pb::WrapRequestState::default() },
            own_wrap: pb::KeyWrap::default(),
        };
        let requests = requests.iter().map(request).collect();
        WrapPage { requests, open: 0, height: Height(time), time: TimeMs(time) }
    }

    #[test]
    fn what_waited_and_was_not_shown_was_hidden() {
        let list = List { member: "a.example".parse().unwrap(), as_deputy: false };
        let mut looks = Looks::default();
        assert_eq!(looks.next(&list), 0);
        assert_eq!(looks.add(&list, &[page(10, &[(3, 5)])]), 0, "nothing was asked before");
        assert_eq!(looks.next(&list), 4);
        assert_eq!(looks.add(&list, &[page(20, &[(3, 5), (4, 10), (5, 12)])]), 0, "they came since");
        assert_eq!(looks.add(&list, &[page(30, &[(5, 12)])]), 0, "others were answered");
        assert_eq!(looks.add(&list, &[page(40, &[(5, 12), (6, 29)]), page(41, &[(7, 30), (8, 22)])]), 2);
        assert_eq!(looks.add(&list, &[page(50, &[(6, 29), (8, 22)])]), 0, "they are known");
    }
}
