//! Which names the ledger knows. A member or an identity that is mistyped is nobody: what denies
//! it denies nobody, and nothing on the ledger says so. Whoever is about to sign such a name asks
//! here first.

use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb;
use consilium_proto::state::keys;

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// The members that were not removed, in ascending order, proven to be all. One that was
    /// removed keeps its row ([`Self::proven_member`]).
    ///
    /// # Errors
    /// As [`Self::proven_state`]; a row that names what cannot be a member.
    pub async fn roster(&self) -> Result<Vec<MemberId>, ClientError> {
        let row: Option<pb::RosterState> = self.proven_row(&keys::roster()).await?;
        let row = row.ok_or_else(|| ClientError::contradiction("the ledger's state has no roster"))?;
        row.members.iter().map(|id| Ok(MemberId::parse("members", id)?)).collect()
    }

    /// Whether an identity has ever enrolled, whatever became of it since.
    ///
    /// # Errors
    /// As [`Self::proven_state`].
    pub async fn has_enrolled(&self, id: &SpiffeId) -> Result<bool, ClientError> {
        let row: Option<pb::IdentityState> = self.proven_row(&keys::identity(&id.to_string())).await?;
        Ok(row.is_some())
    }
}
