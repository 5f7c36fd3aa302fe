//! When identities end: certificates of nodes as they were last presented here,
//! the members' CAs and revocation lists, and the moment from which the network
//! could not certify or order any more if nobody renewed anything.
//!
//! A node learns a peer's certificate from the handshakes with it alone, so a
//! peer that was never met since the start of this process is unknown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use consilium_certs::tls::MemberTrust;
use consilium_certs::{Crl, Purpose, VerifyError, chain_not_after};
use consilium_proto::ids::VotingPower;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb;
use consilium_proto::validators::Quorum;
use rustls_pki_types::CertificateDer;

use consilium_replica::topology::Topology;

/// Nodes whose chains are remembered, at most: a member's CA can make up any
/// number of names.
const NODES_MAX: usize = 1_024;

type Chain = Arc<[CertificateDer<'static>]>;
type Members = BTreeMap<MemberId, Arc<MemberTrust>>;

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A node's certificate, or a CA above it that ends sooner.
    NodeCertificate,
    /// The last CA of a member's bundle.
    CaCertificate,
    /// The member's revocation list that is due next.
    RevocationList,
}

impl Kind {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeCertificate => "node certificate",
            Self::CaCertificate => "ca certificate",
            Self::RevocationList => "revocation list",
        }
    }

    fn to_message(self) -> pb::ExpiryKind {
        match self {
            Self::NodeCertificate => pb::ExpiryKind::NodeCertificate,
            Self::CaCertificate => pb::ExpiryKind::CaCertificate,
            Self::RevocationList => pb::ExpiryKind::RevocationList,
        }
    }
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    /// Seconds since 1970.
    pub not_after_s: i64,
    /// SPIFFE id of a node, or id of a member.
    pub subject: String,
    /// What ends.
    pub kind: Kind,
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Soonest first.
    pub expiries: Vec<Expiry>,
    /// See [`quorum_lost`]; seconds since 1970.
    pub quorum_lost_s: Option<i64>,
    /// End of this node's own chain, seconds since 1970.
    pub own_s: Option<i64>,
}

impl Forecast {
    /// For status.
    #[must_use]
    pub fn to_messages(&self) -> Vec<pb::ExpiryForecast> {
        let message = |expiry: &Expiry| pb::ExpiryForecast {
            subject: expiry.subject.clone(),
            kind: expiry.kind.to_message().into(),
            not_after_s: expiry.not_after_s,
        };
        self.expiries.iter().map(message).collect()
    }
}

/// Chains as last seen, and the newest forecast.
#[derive(Debug, Default)]
pub struct Expiries {
    seen: Mutex<BTreeMap<String, Chain>>,
    newest: ArcSwap<Forecast>,
}

impl Expiries {
    /// A node proved to have this chain's key.
    pub fn note(&self, id: &SpiffeId, chain: &Chain) {
        let (mut seen, id) = (self.seen(), id.to_string());
        if seen.len() < NODES_MAX || seen.contains_key(&id) {
            seen.insert(id, Arc::clone(chain));
        }
    }

    /// The newest forecast.
    #[must_use]
    pub fn newest(&self) -> Arc<Forecast> {
        self.newest.load_full()
    }

    /// Makes a new forecast and publishes it. `own` is this node's id and
    /// present chain.
    pub fn refresh(
        &self,
        topology: &Topology,
        members: &Members,
        own: (&SpiffeId, &[CertificateDer<'static>]),
        now_s: i64,
    ) -> Arc<Forecast> {
        self.note(own.0, &own.1.into());
        let seen = {
            let mut seen = self.seen();
            seen.retain(|id, _| topology.nodes().any(|node| node.spiffe_id.to_string() == *id));
            seen.clone()
        };
        let ends: BTreeMap<&str, i64> =
            seen.iter().map(|(id, chain)| (id.as_str(), end_of(id, chain, members, now_s))).collect();
        let end = |node| topology.node(node).and_then(|n| ends.get(n.spiffe_id.to_string().as_str()).copied());
        let validators = topology.validators();
        let seats: Vec<_> = validators.seats().iter().map(|seat| (seat.power, end(seat.id))).collect();
        let mut expiries: Vec<Expiry> = ends
            .iter()
            .map(|(id, end)| Expiry { not_after_s: *end, subject: (*id).to_owned(), kind: Kind::NodeCertificate })
            .chain(members.values().flat_map(|member| of_member(member)))
            .collect();
        expiries.sort();
        let forecast = Forecast {
            quorum_lost_s: quorum_lost(&seats, validators.quorum()),
            own_s: ends.get(own.0.to_string().as_str()).copied(),
            expiries,
        };
        publish(&self.newest.load(), &forecast);
        let forecast = Arc::new(forecast);
        self.newest.store(Arc::clone(&forecast));
        forecast
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Chain>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a chain. One that others would refuse today, as after a rotation
/// that left its CA out, ends now.
fn end_of(id: &str, chain: &[CertificateDer<'static>], members: &Members, now_s: i64) -> i64 {
    let Some(member) = id.parse::<SpiffeId>().ok().and_then(|id| members.get(id.member())) else { return now_s };
    match chain_not_after(chain, &member.bundle, now_s, Purpose::Server) {
        Ok(end) => end,
        Err(VerifyError::Expired { not_after, .. } | VerifyError::AnchorNotValid { not_after, .. }) => {
            not_after.min(now_s)
        }
        Err(_) => now_s,
    }
}

fn of_member(member: &MemberTrust) -> impl Iterator<Item = Expiry> {
    let subject = member.bundle.member().to_string();
    let ca = Expiry { not_after_s: member.bundle.not_after(), subject: subject.clone(), kind: Kind::CaCertificate };
    let list = member.crls.iter().map(Crl::next_update).min();
    let list = list.map(|not_after_s| Expiry { not_after_s, subject, kind: Kind::RevocationList });
    std::iter::once(ca).chain(list)
}

/// When the network stops if nobody renews: the end, in seconds since 1970,
/// after which the validators that still have a valid certificate no longer
/// have the power to certify, or are no longer a majority, which Raft needs to
/// order. A validator whose certificate is unknown counts as absent: the moment
/// may come later than told, and not sooner. `None` if those that are known are
/// too few already, which says nothing.
#[must_use]
pub fn quorum_lost(seats: &[(VotingPower, Option<i64>)], quorum: Quorum) -> Option<i64> {
    let total = power(seats.iter());
    let enough = |after: Option<i64>| {
        let left: Vec<_> = seats.iter().filter(|(_, end)| *end > after).collect();
        quorum.reached(power(left.iter().copied()), total) && 2 * left.len() > seats.len()
    };
    if !enough(None) {
        return None;
    }
    let mut ends: Vec<i64> = seats.iter().filter_map(|(_, end)| *end).collect();
    ends.sort_unstable();
    ends.into_iter().find(|end| !enough(Some(*end)))
}

fn power<'a>(seats: impl Iterator<Item = &'a (VotingPower, Option<i64>)>) -> u128 {
    seats.map(|(power, _)| u128::from(power.0)).sum()
}

/// Gauges hold seconds since 1970. What is not known any more is NaN, which no
/// rule matches.
fn publish(before: &Forecast, now: &Forecast) {
    let set = |expiry: &Expiry, value: f64| {
        let (subject, kind) = (expiry.subject.clone(), expiry.kind.name());
        metrics::gauge!("consilium_certificate_expiry_seconds", "subject" => subject, "kind" => kind).set(value);
    };
    let same = |a: &Expiry, b: &Expiry| (&a.subject, a.kind) == (&b.subject, b.kind);
    let gone = before.expiries.iter().filter(|old| !now.expiries.iter().any(|new| same(old, new)));
    gone.for_each(|expiry| set(expiry, f64::NAN));
    now.expiries.iter().for_each(|expiry| set(expiry, expiry.not_after_s as f64));
    let quorum = now.quorum_lost_s.map_or(f64::NAN, |end| end as f64);
    metrics::gauge!("consilium_quorum_expiry_seconds").set(quorum);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn lost(seats: &[(u64, Option<i64>)]) -> Option<i64> {
        let seats: Vec<_> = seats.iter().map(|(power, end)| (VotingPower(*power), *end)).collect();
        quorum_lost(&seats, Quorum::new(2, 3).unwrap())
    }

    #[test]
    fn the_third_part_to_go_decides() {
        // Of four equal ones three must stay.
        assert_eq!(lost(&[(1, Some(40)), (1, Some(10)), (1, Some(30)), (1, Some(20))]), Some(20));
        // Of seven, five.
        let seven: Vec<_> = (1..=7).map(|end| (1, Some(end * 10))).collect();
        assert_eq!(lost(&seven), Some(30));
        assert_eq!(lost(&[(1, Some(10))]), Some(10));
        assert_eq!(lost(&[(1, Some(10)), (1, Some(10)), (1, Some(10))]), Some(10));
    }

    #[test]
    fn power_counts_and_so_does_the_majority_of_nodes() {
        assert_eq!(lost(&[(10, Some(10)), (1, Some(20)), (1, Some(30))]), Some(10));
        // The heavy one has the power alone; Raft needs one more.
        assert_eq!(lost(&[(10, Some(50)), (1, Some(20)), (1, Some(30))]), Some(30));
    }

    #[test]
    fn the_unknown_count_as_absent() {
        assert_eq!(lost(&[(1, Some(40)), (1, None), (1, Some(30)), (1, Some(20))]), Some(20));
        assert_eq!(lost(&[(1, Some(40)), (1, None), (1, None), (1, Some(20))]), None);
        assert_eq!(lost(&[]), None);
    }

    proptest! {
        /// Up to the moment there is a quorum, after it there is none; and to
        /// learn of one more certificate never makes it sooner.
        #[test]
        fn it_is_the_moment(seats in prop::collection::vec((1u64..100, prop::option::of(0i64..50)), 1..12)) {
            let total: u64 = seats.iter().map(|s| s.0).sum();
            let stands = |at: i64| {
                let valid: Vec<u64> = seats.iter().filter(|s| s.1.is_some_and(|end| at <= end)).map(|s| s.0).collect();
                valid.iter().sum::<u64>() * 3 > total * 2 && valid.len() * 2 > seats.len()
            };
            match lost(&seats) {
                Some(end) => prop_assert!(stands(end) && !stands(end + 1)),
                None => prop_assert!(!stands(0)),
            }
            if let Some(unknown) = seats.iter().position(|s| s.1.is_none()) {
                let mut known = seats.clone();
                known[unknown].1 = Some(25);
                prop_assert!(lost(&known) >= lost(&seats));
            }
        }
    }
}
