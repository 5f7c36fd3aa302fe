//! The first question to nodes: how does a member stand? Asked over connections
//! that nothing vouches for yet, because the answer is what vouches for them.
//!
//! That is sound since the answer proves itself, from the genesis document on:
//! changes of the validators, certified heads, and rows of the state under
//! them. Nothing else can be asked here: an [`Inquiry`] hides the client that it
//! asks with, and has one question.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::ids::Height;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, MemberState};
use consilium_proto::state::keys;
use futures::future::BoxFuture;
use prost::Message;
use tonic::Code;

use crate::age::HeadAge;
use crate::client::{Client, Shared};
use crate::error::ClientError;
use crate::governance::at_least;
use crate::retry::RetryPolicy;
use crate::standing::Standing;
use crate::transport::Connector;

/// For those who look after a network that may have come to a halt, and go by
/// what is known if it has.
const PATIENCE_AT_ANY_AGE: Duration = Duration::from_millis(1_500);
/// For one node, at least.
const PATIENCE_MIN: Duration = Duration::from_secs(2);
/// Nodes asked at most, one after the other.
const NODES_ASKED: u32 = 3;

/// Makes an inquiry whenever one is needed.
#[derive(Debug, Clone)]
pub(crate) struct Inquirer {
    shared: Shared,
    connector: Arc<Connector>,
    endpoints: Vec<Arc<str>>,
    policy: RetryPolicy,
}

impl Inquirer {
    pub(crate) fn new(
        shared: Shared,
        connector: Arc<Connector>,
        endpoints: Vec<Arc<str>>,
        policy: RetryPolicy,
    ) -> Self {
        let overall = match shared.head_age {
            HeadAge::Within(_) => (policy.attempt / NODES_ASKED).max(PATIENCE_MIN),
            HeadAge::Any => PATIENCE_AT_ANY_AGE,
        };
        // A call may fail, and something may still be asked then.
        let policy = RetryPolicy { overall, attempt: overall / 2, ..policy };
        let shared = Shared { validators: Arc::new(shared.validators.sharing()), ..shared };
        Self { shared, connector, endpoints, policy }
    }

    pub(crate) fn head_age(&self) -> HeadAge {
        self.shared.head_age
    }

    pub(crate) fn refresh(&self) -> Duration {
        self.shared.refresh
    }

    /// How a member stands, and the height of the head that proves it. The node
    /// at `last`, which is to be judged by the answer, is asked after the others:
    /// where it was cut off it knows the least.
    pub(crate) fn row<'a>(
        &'a self,
        member: &'a MemberId,
        last: &'a str,
    ) -> BoxFuture<'a, Result<(Standing, Height), ClientError>> {
        Box::pin(async move {
            let others = self.endpoints.iter().filter(|address| ***address != *last).cloned();
            let others = others.take(NODES_ASKED as usize - 1);
            let mut failure = None;
            for address in others.chain(std::iter::once(Arc::from(last))) {
                match self.ask(address, member).await {
                    Ok(found) => return Ok(found),
                    Err(error) if failure.is_none() || tells_more(&error) => failure = Some(error),
                    Err(_) => {}
                }
            }
            Err(failure.unwrap_or_else(|| self.late(member)))
        })
    }

    /// Each node for itself and for a limited time: one that was cut off may not
    /// come to an end.
    async fn ask(&self, address: Arc<str>, member: &MemberId) -> Result<(Standing, Height), ClientError> {
        // Its connection ends with it.
        let inquiry = Inquiry(Client::for_proofs(self.shared.clone(), &self.connector, [address], self.policy)?);
        let answer = tokio::time::timeout(self.policy.overall, inquiry.standing(member)).await;
        answer.unwrap_or_else(|_| Err(self.late(member)))
    }

    fn late(&self, member: &MemberId) -> ClientError {
        let seconds = self.policy.overall.as_secs();
        ClientError::Status {
            code: Code::DeadlineExceeded,
            reason: String::new(),
            message: format!("no node proves within {seconds} s how {member} stands"),
        }
    }

    /// As the genesis document has it.
    pub(crate) fn founding(&self, member: &MemberId) -> Option<Standing> {
        let founder = self.shared.genesis.members.iter().find(|m| m.id == *member)?;
        Some(Standing::Active(Box::new(founding_row(founder))))
    }
}

/// More than that a node could not be asked.
fn tells_more(error: &ClientError) -> bool {
    matches!(error, ClientError::Verification(_) | ClientError::StaleHead { .. } | ClientError::ClockBehind { .. })
}

fn founding_row(founder: &consilium_proto::genesis::Member) -> MemberState {
    MemberState {
        id: founder.id.to_string(),
        ca_bundle: founder.ca_bundle.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        status: pb::MemberStatus::Active.into(),
        ..Default::default()
    }
}

/// A client whose connections nothing vouches for. Never hand it out.
struct Inquiry(Client);

impl Inquiry {
    async fn standing(&self, member: &MemberId) -> Result<(Standing, Height), ClientError> {
        let head = self.0.recent_head().await?;
        let read = at_least(head.header.height);
        let (row, header) = self.0.proven_at(&keys::member(member.as_str()), Some(read)).await?;
        self.0.check_age(&header)?;
        let row = row.map(MemberState::decode).transpose();
        let row = row.map_err(|_| ClientError::contradiction(format!("the row of {member} is malformed")))?;
        Ok((Standing::of(member, row)?, header.height))
    }
}
