//! How members stand, by their rows in the ledger's state: whether they have
//! their rights, which CAs vouch for their nodes, what is revoked.
//!
//! A row counts only as it was proven under a certified head that is recent
//! enough. Nothing of this comes from the genesis document or an invitation
//! while a node can prove the row: a CA that was rotated away may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_certs::{CaBundle, Crl, Purpose, RevocationPolicy, VerifyError, verify_chain};
use consilium_proto::hash::HASH_LEN;
use consilium_proto::ids::{AuthorityId, Height};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{MemberState, MemberStatus};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::age::HeadAge;
use crate::clock::now_ms;
use crate::error::ClientError;
use crate::inquiry::Inquirer;

/// How long a row is believed without asking again, unless the profile says
/// otherwise. Open connections are judged again as often.
pub const REFRESH_DEFAULT: Duration = Duration::from_secs(60);
/// A refusal under a row that is older than this is looked into once more.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// As nodes judge: a list that is overdue must not lock out who could renew it.
const POLICY: RevocationPolicy = RevocationPolicy { enforce_expiry: false };

/// Why a node is not talked to, or a recipient not sealed for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The ledger has no row of the member.
    #[error("{0} is not a member")]
    NoMember(MemberId),
    /// Governance has suspended it.
    #[error("member {0} is suspended")]
    Suspended(MemberId),
    /// It has left for good.
    #[error("member {0} was removed")]
    Removed(MemberId),
    /// The CA that issued the certificate vouches for nobody any more.
    #[error("the CA of the certificate is withdrawn by {0}")]
    Withdrawn(MemberId),
    /// The certificate is not what it has to be.
    #[error(transparent)]
    Certificate(#[from] VerifyError),
}

impl Refusal {
    /// Whether another time of day would have made it otherwise.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        matches!(
            self,
            Self::Certificate(
                VerifyError::NotYetValid { .. } | VerifyError::Expired { .. } | VerifyError::AnchorNotValid { .. }
            )
        )
    }
}

/// What a member's row comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    NoMember,
    Suspended,
    Removed,
    Active(Box<MemberState>),
}

impl Standing {
    /// By the row, if there is one.
    pub(crate) fn of(member: &MemberId, row: Option<MemberState>) -> Result<Self, ClientError> {
        let Some(row) = row else { return Ok(Self::NoMember) };
        if row.id != member.as_str() {
            return Err(ClientError::contradiction(format!("the row of {member} is about another member")));
        }
        match row.status() {
            MemberStatus::Active => Ok(Self::Active(Box::new(row))),
            MemberStatus::Suspended => Ok(Self::Suspended),
            MemberStatus::Removed => Ok(Self::Removed),
            MemberStatus::Unspecified => {
                Err(ClientError::contradiction(format!("the row of {member} has no standing")))
            }
        }
    }

    /// The row, if the member has its rights.
    pub(crate) fn active(&self, member: &MemberId) -> Result<&MemberState, Refusal> {
        match self {
            Self::Active(row) => Ok(row),
            Self::NoMember => Err(Refusal::NoMember(member.clone())),
            Self::Suspended => Err(Refusal::Suspended(member.clone())),
            Self::Removed => Err(Refusal::Removed(member.clone())),
        }
    }

    /// Whether it vouches for a server now.
    fn judge(&self, server: &Presented) -> Result<(), Refusal> {
        let member = server.id.member();
        let vouching = Vouching::of(member, self.active(member)?)?;
        vouching.judge(&server.chain, i64::try_from(now_ms() / 1_000).unwrap_or(i64::MAX))
    }
}

/// The CAs of a member, and what they have taken back.
struct Vouching {
    bundle: CaBundle,
    crls: Vec<Crl>,
    withdrawn: BTreeSet<AuthorityId>,
}

impl Vouching {
    fn of(member: &MemberId, row: &MemberState) -> Result<Self, Refusal> {
        // No node takes a bundle that does not parse: then nobody is vouched for.
        let bundle = CaBundle::of_member(member, &row.ca_bundle).map_err(|_| VerifyError::UnknownIssuer)?;
        let crls = row.crls.iter().filter_map(|der| Crl::parse(der, &bundle).ok()).collect();
        Ok(Self { bundle, crls, withdrawn: authorities(&row.withdrawn) })
    }

    fn judge(&self, chain: &[CertificateDer<'_>], at_s: i64) -> Result<(), Refusal> {
        let verified = verify_chain(chain, &self.bundle, &self.crls, POLICY, at_s, Purpose::Server)?;
        if self.withdrawn.contains(&verified.authority) {
            return Err(Refusal::Withdrawn(self.bundle.member().clone()));
        }
        Ok(())
    }
}

pub(crate) fn authorities(ids: &[Bytes]) -> BTreeSet<AuthorityId> {
    let id = |bytes: &Bytes| <[u8; HASH_LEN]>::try_from(&bytes[..]).ok().map(AuthorityId::from_bytes);
    ids.iter().filter_map(id).collect()
}

/// What a server showed in its handshake: a node's certificate of plausible
/// form, whose key it holds.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    pub(crate) id: SpiffeId,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// host:port, where it listens.
    pub(crate) address: String,
}

#[derive(Debug, Clone)]
struct Row {
    standing: Arc<Standing>,
    /// Of the head that it was proven under.
    height: Height,
    asked: Instant,
}

#[derive(Debug, Default)]
struct Known {
    rows: BTreeMap<MemberId, Row>,
    /// The last attempt in vain.
    failure: Option<(Instant, ClientError)>,
}

/// The rows of members that a client has to do with, asked for when needed.
#[derive(Debug)]
pub(crate) struct Standings {
    known: Mutex<Known>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
    inquirer: Inquirer,
}

impl Standings {
    pub(crate) fn new(inquirer: Inquirer) -> Self {
        let (changes, _) = watch::channel(0);
        Self { known: Mutex::default(), asking: tokio::sync::Mutex::default(), changes, inquirer }
    }

    /// Tells of every row that changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How long a row is believed without asking again.
    pub(crate) fn refresh(&self) -> Duration {
        self.inquirer.refresh()
    }

    /// Whether the ledger vouches for a server, by a row that is recent enough.
    pub(crate) async fn judge(&self, server: &Presented) -> Result<(), ClientError> {
        let row = self.fresh(server, self.refresh()).await?;
        let Err(refusal) = row.standing.judge(server) else { return Ok(()) };
        // It may be renewed since, or be back in its rights.
        let judged = match self.fresh(server, SECOND_LOOK).await {
            Ok(row) => row.standing.judge(server),
            Err(_) => Err(refusal),
        };
        judged.map_err(|refusal| ClientError::NodeRefused { node: server.id.to_string(), refusal: Box::new(refusal) })
    }

    async fn fresh(&self, server: &Presented, within: Duration) -> Result<Row, ClientError> {
        let (member, since) = (server.id.member(), Instant::now());
        let _one_at_a_time = match self.row(member, within) {
            Some(row) => return Ok(row),
            None => self.asking.lock().await,
        };
        if let Some(row) = self.row(member, within) {
            return Ok(row);
        }
        if let Some(failure) = self.failure_since(since) {
            return self.fall_back(member, failure);
        }
        match self.inquirer.row(member, &server.address).await {
            Ok((standing, height)) => Ok(self.learn(member, standing, height)),
            Err(failure) => self.fall_back(member, failure),
        }
    }

    fn row(&self, member: &MemberId, within: Duration) -> Option<Row> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.rows.get(member).filter(|row| row.asked.elapsed() <= within).cloned()
    }

    fn failure_since(&self, since: Instant) -> Option<ClientError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.failure.as_ref().filter(|(at, _)| *at >= since).map(|(_, failure)| failure.clone())
    }

    /// What was proven under a later head stays: nobody leads back.
    fn learn(&self, member: &MemberId, standing: Standing, height: Height) -> Row {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.rows.get(member);
        let (standing, height) = match before {
            Some(row) if row.height > height || *row.standing == standing => {
                (Arc::clone(&row.standing), row.height.max(height))
            }
            Some(_) | None => (Arc::new(standing), height),
        };
        let changed = before.is_some_and(|row| row.standing != standing);
        let row = Row { standing, height, asked: Instant::now() };
        known.rows.insert(member.clone(), row.clone());
        drop(known);
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
        row
    }

    /// Nobody proves the row at present. One that was proven lately still counts,
    /// for as long as a head may be old; who accepts a head of any age goes by
    /// what there is, at worst by the genesis document.
    fn fall_back(&self, member: &MemberId, failure: ClientError) -> Result<Row, ClientError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.failure = Some((Instant::now(), failure.clone()));
        let before = known.rows.get(member);
        let row = match self.inquirer.head_age() {
            HeadAge::Within(bound) => before.filter(|row| row.asked.elapsed() <= self.refresh() + bound).cloned(),
            HeadAge::Any => {
                let founding = || {
                    let standing = Arc::new(self.inquirer.founding(member)?);
                    Some(Row { standing, height: Height::GENESIS, asked: Instant::now() })
                };
                let row = before.cloned().or_else(founding).map(|row| Row { asked: Instant::now(), ..row });
                row.inspect(|row| drop(known.rows.insert(member.clone(), row.clone())))
            }
        };
        row.ok_or(failure)
    }
}

#[cfg(test)]
mod tests;
