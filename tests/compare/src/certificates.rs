//! A CA, a certificate for all servers and one for the load, on P-256: what mutual TLS takes.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Files in PEM.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) ca: PathBuf,
    pub(crate) server: Pair,
    pub(crate) load: Pair,
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them. The one of the load names `user`.
    pub(crate) fn make(folder: &Path, user: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "comparison");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let server = issue(folder, ("server", "server"), &both, &issuer)?;
        let load = issue(folder, ("load", user), &both[1..], &issuer)?;
        Ok(Self { ca, server, load })
    }
}

fn issue(
    folder: &Path,
    (file, name): (&str, &str),
    usages: &[ExtendedKeyUsagePurpose],
    issuer: &Issuer<'_, KeyPair>,
) -> anyhow::Result<Pair> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    let pair = Pair { certificate: folder.join(format!("{file}.pem")), key: folder.join(format!("{file}.key")) };
    std::fs::write(&pair.certificate, params.signed_by(&key, issuer)?.pem())?;
    std::fs::write(&pair.key, key.serialize_pem())?;
    restrict(&pair.key)?;
    Ok(pair)
}

/// PostgreSQL takes no key that others may read.
fn restrict(key: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600))
}
