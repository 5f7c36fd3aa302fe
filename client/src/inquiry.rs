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

use crate::age::HeadAge;
use crate::client::{Client, Shared};
use crate::error::ClientError;
use crate::governance::at_least;
use crate::retry::RetryPolicy;
use crate::standing::Standing;
use crate::transport::Connector;

/// For those who look after a network that may have come to a halt, and go by
/// what is known if it has.
const PATIENCE_AT_ANY_AGE: Duration = Duration::from_secs(3);

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
            HeadAge::Within(_) => policy.attempt,
            HeadAge::Any => policy.attempt.min(PATIENCE_AT_ANY_AGE),
        };
        // Half of it for one node, so that another one gets its turn.
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
            let inquiry = self.inquiry(last)?;
            // Also against a node that answers a little, and a little later.
            let late = |_| {
                Err(ClientError::Status {
                    code: tonic::Code::DeadlineExceeded,
                    reason: String::new(),
                    message: format!("no node proves in time how {member} stands"),
                })
            };
            let limit = self.policy.overall.saturating_mul(2);
            tokio::time::timeout(limit, inquiry.standing(member)).await.unwrap_or_else(late)
        })
    }

    /// As the genesis document has it.
    pub(crate) fn founding(&self, member: &MemberId) -> Option<Standing> {
        let founder = self.shared.genesis.members.iter().find(|m| m.id == *member)?;
        Some(Standing::Active(Box::new(founding_row(founder))))
    }

    /// Its connections end with it.
    fn inquiry(&self, last: &str) -> Result<Inquiry, ClientError> {
        let others = self.endpoints.iter().filter(|address| ***address != *last).cloned();
        let endpoints = others.chain(std::iter::once(Arc::from(last)));
        Client::for_proofs(self.shared.clone(), &self.connector, endpoints, self.policy).map(Inquiry)
    }
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
