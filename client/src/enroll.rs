//! Enrolment: binds this identity's keys to its certificate on the ledger.

use bytes::Bytes;
use consilium_grpc::identity_service_client::IdentityServiceClient;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::{pb, transaction};
use tonic::Request;

use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::submit::{Submitted, outcome_from};

impl Client {
    /// The enrolment of this identity: its certificate, signing key (with
    /// proof of possession) and encryption key, signed by the certificate's key.
    ///
    /// # Errors
    /// If the certificate's key cannot sign, nodes would refuse a field, or the
    /// certificate was renewed since this client was made.
    pub fn enrollment(&self) -> Result<pb::SignedTransaction, ClientError> {
        let identity = self.identity();
        if identity.is_renewed() {
            return Err(ClientError::Usage("the certificate was renewed: connect anew to enrol the new one".into()));
        }
        let fingerprint = identity.certificate_fingerprint();
        let (signing_key, proof) = match identity.own_signing_key() {
            None => (Bytes::new(), Bytes::new()),
            Some(key) => {
                let proof = key.sign(&transaction::enrollment_proof_input(self.genesis().ledger_id, &fingerprint))?;
                (key.verifying_key().to_bytes().into(), Bytes::copy_from_slice(&proof))
            }
        };
        let enroll = pb::EnrollIdentity {
            certificate_chain: self.chain_below_ca(),
            signing_key,
            encryption_key: identity.encryption_key().map(|k| k.public_key().encode().into()).unwrap_or_default(),
            signing_key_proof: proof,
        };
        let action = pb::Action { action: Some(pb::action::Action::EnrollIdentity(enroll)) };
        let body = self.body(&[action]);
        let signed = transaction::sign(body, fingerprint, identity.certificate_key()?, Vec::new())?;
        transaction::Transaction::parse(&signed, self.genesis().ledger_id)?;
        Ok(signed)
    }

    /// Enrols this identity and waits until that is certified. Safe to repeat:
    /// a second enrolment of the same keys changes nothing.
    ///
    /// # Errors
    /// As [`Client::submit`]. The receipt is absent if the node did not have
    /// it at once.
    pub async fn enroll(&self) -> Result<Submitted, ClientError> {
        let tx = self.enrollment()?;
        let id = transaction::transaction_id(&tx)?;
        let request = pb::EnrollRequest { transaction: Some(tx) };
        let answer = self
            .call_from(|channel, left| {
                let mut request = Request::new(request.clone());
                request.set_timeout(left);
                async move { IdentityServiceClient::new(channel).enroll(request).await }
            })
            .await?;
        let answered = Answered::new("Enroll", answer, request);
        let enrolled = self.check_enrolled(&answered.answer, id).await;
        self.judged(&answered, enrolled)
    }

    async fn check_enrolled(&self, answer: &pb::EnrollResponse, id: TransactionId) -> Result<Submitted, ClientError> {
        if answer.transaction_id != id.to_bytes() {
            return Err(ClientError::contradiction("the answer is about another transaction"));
        }
        let receipt = match self.receipt(id).await {
            Ok(receipt) => Some(receipt),
            Err(
                ClientError::Status { .. }
                | ClientError::GaveUp { .. }
                | ClientError::Transport { .. }
                | ClientError::NoAddress { .. }
                | ClientError::StaleHead { .. },
            ) => None,
            Err(e) => return Err(e),
        };
        let (height, outcome) = (Height(answer.height), outcome_from(answer.outcome)?);
        if receipt.as_ref().is_some_and(|r| (r.leaf.height, r.leaf.outcome) != (height, outcome)) {
            return Err(ClientError::contradiction("the answer differs from its receipt"));
        }
        Ok(Submitted { transaction_id: id, height, outcome, receipt })
    }

    /// The own chain without the member's CA, which is on the ledger.
    fn chain_below_ca(&self) -> Vec<Bytes> {
        let own = self.genesis().member(self.identity().spiffe_id().member().as_str());
        let bundle = own.map(|member| member.ca_bundle.as_slice()).unwrap_or_default();
        self.identity().chain().iter().filter(|der| !bundle.contains(der)).cloned().collect()
    }
}
