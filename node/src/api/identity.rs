//! `IdentityService`.

use consilium_grpc::identity_service_server::IdentityService;
use consilium_ledger::keys;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::{Fingerprint, KeyId};
use consilium_proto::pb;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;
use consilium_replica::submission::WaitFor;

#[tonic::async_trait]
impl IdentityService for Api {
    async fn enroll(&self, request: Request<pb::EnrollRequest>) -> Result<Response<pb::EnrollResponse>, Status> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let transaction = self.parse(request.get_ref().transaction.as_ref())?;
        if transaction.enrollment().is_none() {
            let error = FieldError::malformed("transaction.body.actions", "must be one enroll_identity action");
            return Err(Reason::InvalidArgument.field(&error));
        }
        Self::check_enrollment(&caller, &transaction)?;
        let id = transaction.id;
        let located = self.execute(transaction, WaitFor::Certified, within).await?;
        Ok(Response::new(pb::EnrollResponse {
            transaction_id: id.to_bytes(),
            height: located.height.0,
            outcome: located.outcome as i32,
        }))
    }

    async fn get_identity(
        &self,
        request: Request<pb::GetIdentityRequest>,
    ) -> Result<Response<pb::GetIdentityResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        if request.spiffe_id.parse::<consilium_proto::names::SpiffeId>().is_err() {
            let error = FieldError::malformed("spiffe_id", "is not spiffe://<member>/<role>/<name>");
            return Err(Reason::InvalidArgument.field(&error));
        }
        self.freshen(request.read.as_ref(), within).await?;
        let found = self.read(move |ledger| look_up(ledger, &request.spiffe_id)).await?;
        found.map(Response::new).ok_or_else(|| Reason::NotFound.status("this identity is not enrolled"))
    }
}

fn look_up(ledger: &LedgerSnapshot<'_>, spiffe_id: &str) -> Result<Option<pb::GetIdentityResponse>, StorageError> {
    let Some(identity) = ledger.state::<pb::IdentityState>(&keys::identity(spiffe_id))? else {
        return Ok(None);
    };
    let corrupt = |e: FieldError| StorageError::corrupt("identity", e);
    let signer_id = Fingerprint::from_bytes(fixed("signing_key_id", &identity.signing_key_id).map_err(corrupt)?);
    let signer = ledger.state(&keys::signer(&signer_id))?;
    let encryption_key = match identity.encryption_key_id.is_empty() {
        true => None,
        false => {
            let id = KeyId::from_bytes(fixed("encryption_key_id", &identity.encryption_key_id).map_err(corrupt)?);
            ledger.state::<pb::EncryptionKeyState>(&keys::encryption_key(&id))?
        }
    };
    Ok(Some(pb::GetIdentityResponse {
        identity: Some(identity),
        signer,
        encryption_key: encryption_key.map(|k| k.encryption_key).unwrap_or_default(),
    }))
}
