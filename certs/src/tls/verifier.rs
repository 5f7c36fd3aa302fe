//! The two verifiers that rustls asks: of clients, and of servers.
//!
//! Both only prepare the question for [`verify_chain`] and translate its
//! answer; neither may decide anything about a chain by itself.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::algorithms::SIGNATURE_ALGORITHMS;
use super::trust::TrustSource;
use crate::identity::IdentityCertificate;
use crate::verify::{Purpose, RevocationPolicy, VerifyError, check_bounds, verify_chain};
use consilium_proto::names::{MemberId, Role, SpiffeId};

/// Told why a peer was refused; for logs and metrics. Called on the network
/// thread.
pub type RefusalHook = Arc<dyn Fn(&VerifyError) + Send + Sync>;

/// The shared part of both verifiers.
struct Judge {
    trust: Arc<dyn TrustSource>,
    policy: RevocationPolicy,
    on_refusal: Option<RefusalHook>,
}

impl Judge {
    fn new(trust: Arc<dyn TrustSource>) -> Self {
        Self { trust, policy: RevocationPolicy::default(), on_refusal: None }
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
        admit: impl FnOnce(&SpiffeId) -> Result<(), VerifyError>,
    ) -> Result<(), rustls::Error> {
        self.verify(end_entity, intermediates, now, purpose, admit).map_err(|refusal| {
            if let Some(hook) = &self.on_refusal {
                hook(&refusal);
            }
            rustls::Error::InvalidCertificate(alert(&refusal))
        })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
        admit: impl FnOnce(&SpiffeId) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let mut chain = vec![CertificateDer::from(end_entity.as_ref())];
        chain.extend(intermediates.iter().map(|der| CertificateDer::from(der.as_ref())));
        check_bounds(&chain)?;
        let claimed = IdentityCertificate::parse(end_entity)?;
        let member = claimed.spiffe_id().member();
        let trust = self.trust.member(member).ok_or_else(|| VerifyError::UnknownMember(member.clone()))?;
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let identity = verify_chain(&chain, &trust.bundle, &trust.crls, self.policy, at, purpose)?.identity;
        // Judged last, on a proven identity: the log then tells who tried.
        if trust.suspended {
            return Err(VerifyError::MemberSuspended(member.clone()));
        }
        admit(identity.spiffe_id())
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("trust", &self.trust).field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Decides which clients get past a listener's handshake.
#[derive(Debug)]
pub struct ConsiliumClientVerifier {
    judge: Judge,
    roles: BTreeSet<Role>,
}

impl ConsiliumClientVerifier {
    /// Accepts the roles given: only [`Role::Node`] on the peers' listener,
    /// [`Role::ALL`] on that for clients.
    pub fn new(trust: Arc<dyn TrustSource>, roles: impl IntoIterator<Item = Role>) -> Self {
        Self { judge: Judge::new(trust), roles: roles.into_iter().collect() }
    }

    /// Judges revocation lists by another policy than the default.
    #[must_use]
    pub fn with_revocation_policy(mut self, policy: RevocationPolicy) -> Self {
        self.judge.policy = policy;
        self
    }

    /// Tells the hook why a client was refused.
    #[must_use]
    pub fn on_refusal(mut self, hook: RefusalHook) -> Self {
        self.judge.on_refusal = Some(hook);
        self
    }
}

impl ClientCertVerifier for ConsiliumClientVerifier {
    /// No hints: they would tell anyone who connects which members exist.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let admit = |id: &SpiffeId| {
            if self.roles.contains(&id.role()) { Ok(()) } else { Err(VerifyError::RoleNotAccepted(id.role())) }
        };
        self.judge.judge(end_entity, intermediates, now, Purpose::Client, admit)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

/// Whom a client expects to reach. Always a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedServer {
    /// Any node of any member.
    AnyNode,
    /// Any node of one member.
    NodeOf(MemberId),
    /// Any node of these members.
    NodeOfOneOf(BTreeSet<MemberId>),
    /// Exactly this node.
    Exactly(SpiffeId),
}

impl ExpectedServer {
    pub(super) fn admit(&self, presented: &SpiffeId) -> Result<(), VerifyError> {
        match self {
            Self::AnyNode => Ok(()),
            Self::NodeOf(member) if member == presented.member() => Ok(()),
            Self::NodeOf(member) => {
                Err(VerifyError::TrustDomain { presented: presented.member().clone(), expected: member.clone() })
            }
            Self::NodeOfOneOf(members) if members.contains(presented.member()) => Ok(()),
            Self::NodeOfOneOf(members) => Err(VerifyError::OtherMember {
                presented: Box::new(presented.clone()),
                expected: members.iter().cloned().collect(),
            }),
            Self::Exactly(id) if id == presented => Ok(()),
            Self::Exactly(id) => Err(VerifyError::UnexpectedIdentity {
                presented: Box::new(presented.clone()),
                expected: Box::new(id.clone()),
            }),
        }
    }
}

/// Decides which servers a client, or a node towards its peers, talks to.
#[derive(Debug)]
pub struct ConsiliumServerVerifier {
    judge: Judge,
    expected: ExpectedServer,
}

impl ConsiliumServerVerifier {
    /// Accepts the servers expected. The DNS name or address dialled plays no
    /// part: addresses move, identities do not.
    #[must_use]
    pub fn new(trust: Arc<dyn TrustSource>, expected: ExpectedServer) -> Self {
        Self { judge: Judge::new(trust), expected }
    }

    /// Judges revocation lists by another policy than the default.
    #[must_use]
    pub fn with_revocation_policy(mut self, policy: RevocationPolicy) -> Self {
        self.judge.policy = policy;
        self
    }

    /// Tells the hook why a server was refused.
    #[must_use]
    pub fn on_refusal(mut self, hook: RefusalHook) -> Self {
        self.judge.on_refusal = Some(hook);
        self
    }
}

impl ServerCertVerifier for ConsiliumServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let admit = |id: &SpiffeId| self.expected.admit(id);
        self.judge.judge(end_entity, intermediates, now, Purpose::Server, admit)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

pub(super) fn supported_schemes() -> Vec<SignatureScheme> {
    SIGNATURE_ALGORITHMS.supported_schemes()
}

/// Unreachable while only TLS 1.3 is configured; refuses in case it is not.
pub(super) fn refuse_tls12() -> rustls::Error {
    PeerIncompatible::ServerDoesNotSupportTls12Or13.into()
}

/// The little that a refused peer learns.
pub(super) fn alert(refusal: &VerifyError) -> CertificateError {
    match refusal {
        VerifyError::EmptyChain
        | VerifyError::ChainTooLong { .. }
        | VerifyError::Oversize { .. }
        | VerifyError::Profile(_)
        | VerifyError::Path(_) => CertificateError::BadEncoding,
        VerifyError::TrustDomain { .. }
        | VerifyError::UnknownMember(_)
        | VerifyError::Time { .. }
        | VerifyError::AnchorNotValid { .. }
        | VerifyError::UnknownIssuer
        | VerifyError::Signature
        | VerifyError::CrlExpired { .. } => CertificateError::UnknownIssuer,
        VerifyError::NotYetValid { .. } => CertificateError::NotValidYet,
        VerifyError::Expired { .. } => CertificateError::Expired,
        VerifyError::Revoked { .. } => CertificateError::Revoked,
        VerifyError::MemberSuspended(_)
        | VerifyError::OtherMember { .. }
        | VerifyError::RoleNotAccepted(_)
        | VerifyError::UnexpectedIdentity { .. }
        | VerifyError::WrongPurpose { .. } => CertificateError::ApplicationVerificationFailure,
    }
}
