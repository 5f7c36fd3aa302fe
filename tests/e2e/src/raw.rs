//! Connections as an attacker makes them: any certificate or none, straight
//! through rustls, without the SDK's retries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use consilium_certs::tls::{
    ConsiliumServerVerifier, ExpectedServer, MemberTrust, StaticTrust, client_config, provider,
};
use consilium_certs::{CaBundle, IssuedIdentity, MemberCa, Validity, pem};
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::genesis::Genesis;
use consilium_proto::pb;
use hyper_util::rt::TokioIo;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// What a connection presents.
#[derive(Debug, Clone)]
pub struct RawIdentity(Option<Arc<CertifiedKey>>);

impl RawIdentity {
    /// No certificate at all.
    #[must_use]
    pub fn nobody() -> Self {
        Self(None)
    }

    /// An identity from PEM.
    ///
    /// # Errors
    /// If key and certificate do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> anyhow::Result<Self> {
        let chain = pem::certificates(certificate.as_bytes())?;
        let key = pem::private_key(key.as_bytes())?;
        Ok(Self(Some(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))))
    }

    /// An identity as a CA issued it.
    ///
    /// # Errors
    /// If it was issued without a key.
    pub fn issued(issued: &IssuedIdentity) -> anyhow::Result<Self> {
        Self::from_pem(&issued.cert_pem, issued.key_pem.as_ref().context("issued without a key")?)
    }

    /// A certificate in the profile's form that this CA would never issue: for
    /// any SPIFFE id.
    ///
    /// # Errors
    /// If the id is no URI.
    pub fn forged(ca: &MemberCa, spiffe_id: &str, validity: Validity) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.not_before = validity.not_before;
        params.not_after = validity.not_after;
        params.serial_number = Some(SerialNumber::from_slice(&[0x51; 16]));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "forged");
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
        let ca_key = KeyPair::from_pem(&ca.key_pem())?;
        let issuer = Issuer::from_ca_cert_pem(ca.cert_pem(), &ca_key)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }
}

impl ResolvesServerCert for RawIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

impl ResolvesClientCert for RawIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// The members of a genesis document, as TLS trusts them.
pub(crate) fn trust_of(genesis: &Genesis) -> anyhow::Result<Vec<MemberTrust>> {
    let trust = |bundle| MemberTrust { bundle, crls: Vec::new(), suspended: false };
    let bundles = genesis.members.iter().map(|member| CaBundle::from_ders(&member.ca_bundle));
    Ok(bundles.map(|bundle| bundle.map(trust)).collect::<Result<_, _>>()?)
}

/// Makes connections that are never made again by themselves.
#[derive(Debug, Clone)]
pub struct Dial {
    connector: Arc<rustls::ClientConfig>,
    connections: Arc<AtomicUsize>,
}

impl Dial {
    /// As this identity, to nodes of this ledger.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(genesis: &Genesis, identity: &RawIdentity) -> anyhow::Result<Self> {
        let trust = StaticTrust::new(trust_of(genesis)?);
        let verifier = ConsiliumServerVerifier::new(Arc::new(trust), ExpectedServer::AnyNode);
        let connector = Arc::new(client_config(Arc::new(verifier), Arc::new(identity.clone()))?);
        Ok(Self { connector, connections: Arc::default() })
    }

    /// Connections made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// One connection. With TLS 1.3 a client is done before the server has
    /// judged its certificate: a refusal shows at the first request.
    ///
    /// # Errors
    /// If nobody listens, or the refusal came at once.
    pub async fn connect(&self, address: SocketAddr) -> anyhow::Result<Channel> {
        self.connect_with(address, |endpoint| endpoint.timeout(Duration::from_secs(10))).await
    }

    /// The same for streams without an end.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(crate) async fn connect_for_long(&self, address: SocketAddr) -> anyhow::Result<Channel> {
        self.connect_with(address, |endpoint| endpoint.tcp_nodelay(true)).await
    }

    async fn connect_with(
        &self,
        address: SocketAddr,
        settings: impl FnOnce(Endpoint) -> Endpoint,
    ) -> anyhow::Result<Channel> {
        let (config, connections) = (Arc::clone(&self.connector), Arc::clone(&self.connections));
        let connect = tower::service_fn(move |_: Uri| {
            let (config, connections) = (Arc::clone(&config), Arc::clone(&connections));
            async move {
                if connections.fetch_add(1, Ordering::Relaxed) > 0 {
                    return Err(std::io::Error::other("the harness connects once only"));
                }
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                let name = ServerName::from(address.ip());
                TlsConnector::from(config).connect(name, tcp).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .origin(format!("https://{address}").parse()?)
            .connect_timeout(Duration::from_secs(10));
        Ok(settings(endpoint).connect_with_connector(connect).await?)
    }

    /// Connects and makes the most harmless request; answers with everything
    /// that the client gets to know of a refusal.
    pub async fn refusal(&self, address: SocketAddr) -> Result<(), String> {
        let channel = self.connect(address).await.map_err(|e| format!("{e:?}"))?;
        let answer = OperatorServiceClient::new(channel).get_status(pb::GetStatusRequest::default()).await;
        answer.map(|_| ()).map_err(|status| format!("{status:?}"))
    }
}
