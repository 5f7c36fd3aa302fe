//! Keeps identities up to date while the node runs: cuts connections whose
//! identity has fallen, after every block that changes a member and when a
//! certificate ends; picks up a renewed certificate of this node; foretells
//! ends and raises alarms before they come.
//!
//! All of it is done by a thread of its own. Whatever clients keep busy, the
//! workers of the network, the blocking pool, it must never stand between a
//! fallen identity and the end of its connections. (Those of a member that is
//! suspended or removed are cut even before, when the block is executed.)
//!
//! A renewed pair is taken only if the other nodes would accept it. It must
//! never leave this node worse off than the pair in use.

use std::sync::Arc;
use std::time::Duration;

use consilium_certs::tls::{MemberTrust, TrustSource};
use consilium_certs::{LoadedIdentity, Purpose, Reload, ReloadingResolver, VerifyError, verify_chain};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::alarms::Alarms;
use crate::clock::now_s;
use crate::fault::Fault;
use crate::identity::forecast::Forecast;
use crate::identity::trust::LedgerTrust;
use crate::published::LiveTopology;
use crate::transport::PeerClients;
use crate::transport::connections::POLICY;

/// How often certificate files are looked at and the forecast is made.
const EVERY: Duration = Duration::from_secs(5);
/// A connection on which no call is under way is closed after so long: what it takes is for others.
const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
const DAY_S: i64 = 86_400;

/// What the thread works with.
pub(super) struct Identities {
    /// Members.
    pub(super) trust: Arc<LedgerTrust>,
    /// Nodes.
    pub(super) topology: LiveTopology,
    /// Where alarms go.
    pub(super) alarms: Arc<Alarms>,
    /// Somebody wants the certificate files to be looked at.
    pub(super) asked: Arc<Notify>,
    /// Ends the thread.
    pub(super) stopping: CancellationToken,
    /// Connections to peers, and the registry of all connections.
    pub(super) clients: PeerClients,
    /// This node's certificate and key.
    pub(super) resolver: Arc<ReloadingResolver>,
    /// Days before an end from which on an alarm is raised.
    pub(super) expiry_days: u32,
}

impl Identities {
    /// Runs until the node stops.
    ///
    /// # Errors
    /// If the system gives nothing to wait with.
    pub(super) fn run(self) -> Result<(), Fault> {
        let mut waiting = tokio::runtime::Builder::new_current_thread();
        let waiting = waiting.enable_time().build().map_err(|e| Fault::Setup(format!("thread identities: {e}")))?;
        waiting.block_on(self.look_on());
        Ok(())
    }

    async fn look_on(&self) {
        let mut members = self.trust.changes();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Signature checks and files: that is what this thread is for.
            tokio::select! {
                changed = members.changed() => match changed {
                    Ok(()) => self.members_changed(),
                    Err(_) => return,
                },
                _ = tick.tick() => self.look(Asked::ByTheClock),
                () = self.asked.notified() => self.look(Asked::ByAPerson),
                () = self.stopping.cancelled() => return,
            }
        }
    }

    fn members_changed(&self) {
        let cut = self.clients.connections().judge_again();
        if cut > 0 {
            tracing::warn!(cut, "connections of fallen identities cut");
        }
    }

    fn look(&self, asked: Asked) {
        let ended = self.clients.connections().cut_expired(now_s());
        if ended > 0 {
            tracing::warn!(ended, "connections cut: their certificates have ended");
        }
        let idle = self.clients.connections().close_idle(IDLE_MAX);
        if idle > 0 {
            tracing::debug!(idle, "connections without calls closed");
        }
        self.reload(asked);
        let own = self.resolver.current();
        let (trust, topology) = (self.trust.members(), self.topology.get());
        let own = (own.identity().spiffe_id(), own.chain());
        let forecast = self.clients.connections().expiries().refresh(&topology, &trust, own, now_s());
        raise_expiries(&self.alarms, &forecast, self.expiry_days, now_s());
    }

    fn reload(&self, asked: Asked) {
        let alarms = &self.alarms;
        let current = self.resolver.current();
        let own = self.trust.member(current.identity().spiffe_id().member());
        let standing = |pair: &LoadedIdentity| standing(pair, own.as_deref(), now_s());
        let in_use = standing(&current);
        match self.resolver.reload_if_changed(|new| acceptable(new, in_use.is_ok(), standing(new), now_s())) {
            Ok(Reload::Unchanged) => {
                if asked == Asked::ByAPerson {
                    tracing::info!("the certificate and key files are those in use");
                }
                alarms.clear("certificate_reload_failed");
            }
            Ok(Reload::Reloaded) => {
                let not_after = self.resolver.current().identity().not_after();
                tracing::info!(not_after, "identity certificate reloaded");
                alarms.clear("certificate_reload_failed");
                self.clients.certificate_renewed();
            }
            Err(error) => {
                if asked == Asked::ByAPerson {
                    tracing::error!(%error, "the certificate and key files are not taken");
                }
                let problem = format!("{error}; the node goes on with the certificate that it has");
                alarms.raise("certificate_reload_failed", problem);
            }
        }
        match standing(&self.resolver.current()) {
            Ok(()) => alarms.clear("identity_refused"),
            Err(why) => alarms.raise(
                "identity_refused",
                format!(
                    "other nodes refuse new connections of this node: {why}; renew its certificate under a CA of \
                         its member's bundle"
                ),
            ),
        }
    }
}

/// Why the files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It was time.
    ByTheClock,
    /// Somebody sent SIGHUP, and wants to know.
    ByAPerson,
}

/// What the other nodes think of a pair, as far as the ledger here tells.
fn standing(pair: &LoadedIdentity, own: Option<&MemberTrust>, now_s: i64) -> Result<(), VerifyError> {
    let domain = || pair.identity().spiffe_id().member().clone();
    let own = own.ok_or_else(|| VerifyError::UnknownMember(domain()))?;
    verify_chain(pair.chain(), &own.bundle, &own.crls, POLICY, now_s, Purpose::Server).map(|_| ())
}

/// Whether to take a new pair. One that others would refuse is not taken while
/// the one in use is good. Once that is not, the ledger here may just be too
/// old to know the new CA, and can only be brought up to date with the new
/// certificate: then it must be valid by the clock, and no more.
fn acceptable(
    new: &LoadedIdentity,
    in_use_stands: bool,
    new_stands: Result<(), VerifyError>,
    now_s: i64,
) -> Result<(), VerifyError> {
    if in_use_stands { new_stands } else { new.identity().check_time(now_s) }
}

/// Raises alarms about ends that are near, and clears them.
fn raise_expiries(alarms: &Alarms, forecast: &Forecast, expiry_days: u32, now_s: i64) {
    let horizon = now_s.saturating_add(i64::from(expiry_days) * DAY_S);
    match forecast.own_s.filter(|end| *end <= horizon) {
        Some(end) => alarms.raise(
            "identity_expiring",
            format!("this node's identity certificate (or a CA above it) {}: renew it", ends(end, now_s)),
        ),
        None => alarms.clear("identity_expiring"),
    }
    match forecast.quorum_lost_s.filter(|end| *end <= horizon) {
        Some(end) => {
            let nodes = forecast.expiries.iter().filter(|e| e.not_after_s <= end && e.subject.starts_with("spiffe://"));
            let nodes: Vec<&str> = nodes.map(|e| e.subject.as_str()).collect();
            let message = format!(
                "the certificate with which the network loses its quorum {}: renew those of {}",
                ends(end, now_s),
                nodes.join(", ")
            );
            alarms.raise("quorum_expiring", message);
        }
        None => alarms.clear("quorum_expiring"),
    }
}

/// "ends in 3 days", "ends within a day", "has ended".
fn ends(end_s: i64, now_s: i64) -> String {
    match end_s.saturating_sub(now_s) {
        left if left < 0 => "has ended".to_owned(),
        left if left < DAY_S => "ends within a day".to_owned(),
        left if left < 2 * DAY_S => "ends in 1 day".to_owned(),
        left => format!("ends in {} days", left / DAY_S),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::identity::forecast::{Expiry, Kind};
    use consilium_certs::{IdentityRequest, MemberCa, SubjectKey, Validity};
    use consilium_proto::names::Role;
    use time::{Duration, OffsetDateTime};

    const NOW: i64 = 1_780_000_000;

    fn validity(from_days: i64, to_days: i64) -> Validity {
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        Validity { not_before: now + Duration::days(from_days), not_after: now + Duration::days(to_days) }
    }

    fn ca() -> (MemberCa, MemberTrust) {
        let ca = MemberCa::create(&"st-mary.example".parse().unwrap(), validity(-100, 900)).unwrap();
        let trust = MemberTrust { bundle: ca.bundle().clone(), crls: Vec::new(), suspended: false };
        (ca, trust)
    }

    fn pair(ca: &MemberCa, validity: Validity) -> LoadedIdentity {
        let request = IdentityRequest {
            role: Role::Node,
            name: "n1".into(),
            dns_names: Vec::new(),
            ip_addrs: Vec::new(),
            validity,
            key: SubjectKey::Generate,
        };
        let issued = ca.issue(&request).unwrap();
        LoadedIdentity::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_good_certificate_is_not_given_up_for_one_that_others_refuse() {
        let ((old, trust), (new, _)) = (ca(), ca());
        let judge = |pair: &LoadedIdentity, in_use_stands| {
            acceptable(pair, in_use_stands, standing(pair, Some(&trust), NOW), NOW).map_err(|e| e.to_string())
        };
        assert_eq!(judge(&pair(&old, validity(-1, 10)), true), Ok(()));
        let late = judge(&pair(&old, validity(-9, -1)), true).unwrap_err();
        assert!(late.starts_with("expired at"), "{late}");
        let early = judge(&pair(&old, validity(1, 9)), true).unwrap_err();
        assert!(early.starts_with("valid from"), "{early}");
        let unknown = pair(&new, validity(-1, 10));
        assert_eq!(judge(&unknown, true), Err("issuer is not in the bundle".to_owned()));
        // With nothing to lose, the clock alone decides.
        assert_eq!(judge(&unknown, false), Ok(()));
        assert!(judge(&pair(&new, validity(-9, -1)), false).is_err());
        assert!(standing(&unknown, None, NOW).is_err());
    }

    #[test]
    fn alarms_name_the_day_and_the_nodes() {
        let node = |name: &str, days: i64| Expiry {
            not_after_s: NOW + days * DAY_S,
            subject: format!("spiffe://{name}/node/n1"),
            kind: Kind::NodeCertificate,
        };
        let forecast = |own: i64, quorum: i64| Forecast {
            expiries: vec![node("a", 3), node("b", 5), node("c", 40)],
            quorum_lost_s: Some(NOW + quorum * DAY_S),
            own_s: Some(NOW + own * DAY_S),
        };
        let alarms = Alarms::default();
        let names = || alarms.list().into_iter().map(|(name, alarm)| (name, alarm.message)).collect::<Vec<_>>();
        raise_expiries(&alarms, &forecast(40, 40), 14, NOW);
        assert_eq!(names(), []);
        raise_expiries(&alarms, &forecast(3, 5), 14, NOW);
        let [(own, first), (quorum, second)] = &names()[..] else { panic!("{:?}", names()) };
        assert_eq!((*own, *quorum), ("identity_expiring", "quorum_expiring"));
        assert!(first.contains("ends in 3 days"), "{first}");
        assert!(second.contains("ends in 5 days") && second.contains("//a/") && !second.contains("//c/"), "{second}");
        raise_expiries(&alarms, &forecast(3, 5), 2, NOW);
        assert_eq!(names(), []);
        assert_eq!(
            [ends(NOW - 1, NOW), ends(NOW, NOW), ends(NOW + DAY_S, NOW)].join(", "),
            "has ended, ends within a day, ends in 1 day"
        );
    }
}
