//! Certificate and key files that change under a running process.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use consilium_certs::pem::PemError;
use consilium_certs::secret_file::SecretAccess;
use consilium_certs::{
    IssuedIdentity, ProfileError, Reload, ReloadError, ReloadingResolver, VerifyError, load_identity,
};
use consilium_proto::names::{Role, SpiffeId};
use tempfile::TempDir;

use crate::common::*;

struct Files {
    _dir: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { cert: dir.path().join("node.pem"), key: dir.path().join("node.key"), _dir: dir }
    }

    fn write_cert(&self, issued: &IssuedIdentity) {
        fs::write(&self.cert, &issued.cert_pem).unwrap();
    }

    fn write_key(&self, issued: &IssuedIdentity) {
        write_key(&self.key, issued.key_pem.as_ref().unwrap().as_bytes());
    }
}

fn write_key(path: &Path, pem: &[u8]) {
    fs::write(path, pem).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_key_that_others_can_read_is_not_taken() {
    let member = ca(MEMBER);
    let (old, new) = (issue(&member, Role::Node, "n1"), issue(&member, Role::Node, "n1"));
    let files = Files::new();
    files.write_cert(&old);
    files.write_key(&old);
    let open = |mode| fs::set_permissions(&files.key, Permissions::from_mode(mode)).unwrap();
    open(0o644);
    let refused = ReloadingResolver::open(&files.cert, &files.key).unwrap_err();
    let access = |error: &ReloadError| matches!(error, ReloadError::KeyAccess { path, error: SecretAccess::Others { mode: 0o644 } } if *path == files.key);
    assert!(access(&refused), "{refused}");
    open(0o400);
    let resolver = ReloadingResolver::open(&files.cert, &files.key).unwrap();
    open(0o600);
    files.write_cert(&new);
    files.write_key(&new);
    open(0o644);
    let refused = resolver.reload_if_changed(|_| Ok(())).unwrap_err();
    assert!(access(&refused), "{refused}");
    assert_eq!(resolver.current().identity(), &old.certificate);
    open(0o600);
    assert_eq!(resolver.reload_if_changed(|_| Ok(())).unwrap(), Reload::Reloaded);
}

#[test]
fn a_torn_renewal_keeps_the_last_good_pair() {
    let member = ca(MEMBER);
    let (old, new) = (issue(&member, Role::Node, "n1"), issue(&member, Role::Node, "n1"));
    let files = Files::new();
    files.write_cert(&old);
    files.write_key(&old);
    let resolver = ReloadingResolver::open(&files.cert, &files.key).unwrap();
    assert_eq!(resolver.reload_if_changed(|_| Ok(())).unwrap(), Reload::Unchanged);

    files.write_cert(&new);
    for _ in 0..2 {
        let torn = resolver.reload_if_changed(|_| Ok(()));
        assert!(matches!(torn, Err(ReloadError::Mismatch)), "{torn:?}");
        assert_eq!(resolver.current().identity(), &old.certificate);
    }
    files.write_key(&new);
    assert_eq!(resolver.reload_if_changed(|_| Ok(())).unwrap(), Reload::Reloaded);
    assert_eq!(resolver.current().identity(), &new.certificate);
    assert_eq!(resolver.current().certified_key().cert[0].as_ref(), new.certificate.der());
    assert_eq!(resolver.reload_if_changed(|_| Ok(())).unwrap(), Reload::Unchanged);
}

#[test]
fn truncated_absent_and_oversize_files_are_reported() {
    let member = ca(MEMBER);
    let issued = issue(&member, Role::Node, "n1");
    let files = Files::new();
    files.write_cert(&issued);
    files.write_key(&issued);
    let resolver = ReloadingResolver::open(&files.cert, &files.key).unwrap();

    fs::write(&files.cert, "").unwrap();
    assert!(matches!(resolver.reload_if_changed(|_| Ok(())), Err(ReloadError::Chain(VerifyError::EmptyChain))));
    fs::write(&files.cert, &issued.cert_pem[..200]).unwrap();
    assert!(matches!(
        resolver.reload_if_changed(|_| Ok(())),
        Err(ReloadError::CertificatePem(PemError::Unended { line: 1, .. }))
    ));
    fs::write(&files.cert, vec![b'x'; 64 * 1024 + 1]).unwrap();
    assert!(matches!(resolver.reload_if_changed(|_| Ok(())), Err(ReloadError::Oversize { .. })));
    files.write_cert(&issued);
    fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    assert!(matches!(
        resolver.reload_if_changed(|_| Ok(())),
        Err(ReloadError::KeyPem(PemError::Unended { line: 1, .. }))
    ));
    fs::remove_file(&files.key).unwrap();
    let absent = resolver.reload_if_changed(|_| Ok(()));
    assert!(matches!(absent, Err(ReloadError::Read { ref path, .. }) if *path == files.key));
    assert_eq!(resolver.current().identity(), &issued.certificate);
}

#[test]
fn a_process_does_not_become_somebody_else() {
    let member = ca(MEMBER);
    let (me, other) = (issue(&member, Role::Node, "n1"), issue(&member, Role::Node, "n2"));
    let files = Files::new();
    files.write_cert(&me);
    files.write_key(&me);
    let resolver = ReloadingResolver::open(&files.cert, &files.key).unwrap();
    files.write_cert(&other);
    files.write_key(&other);
    let Err(ReloadError::IdentityChanged { expected, found }) = resolver.reload_if_changed(|_| Ok(())) else {
        panic!("took another identity");
    };
    let id = |name: &str| SpiffeId::new(MEMBER.parse().unwrap(), Role::Node, name).unwrap();
    assert_eq!((*expected, *found), (id("n1"), id("n2")));
    assert_eq!(resolver.current().identity(), &me.certificate);
}

#[test]
fn what_the_caller_does_not_accept_is_not_taken() {
    let member = ca(MEMBER);
    let (old, new) = (issue(&member, Role::Node, "n1"), issue(&member, Role::Node, "n1"));
    let files = Files::new();
    files.write_cert(&old);
    files.write_key(&old);
    let resolver = ReloadingResolver::open(&files.cert, &files.key).unwrap();
    // Nobody is asked about the pair in use.
    assert_eq!(resolver.reload_if_changed(|_| Err(VerifyError::UnknownIssuer)).unwrap(), Reload::Unchanged);

    files.write_cert(&new);
    files.write_key(&new);
    let late = new.certificate.not_after() + 1;
    let Err(ReloadError::NotAccepted(reason)) = resolver.reload_if_changed(|pair| pair.identity().check_time(late))
    else {
        panic!("took an expired certificate");
    };
    assert_eq!(reason, VerifyError::Expired { not_after: late - 1, at: late });
    assert_eq!(resolver.current().identity(), &old.certificate);
    let early = new.certificate.not_before() - 1;
    let Err(ReloadError::NotAccepted(reason)) = resolver.reload_if_changed(|pair| pair.identity().check_time(early))
    else {
        panic!("took a certificate of tomorrow");
    };
    assert_eq!(reason, VerifyError::NotYetValid { not_before: early + 1, at: early });
    let ends = [early + 1, late - 1].map(|at| resolver.reload_if_changed(|pair| pair.identity().check_time(at)));
    assert_eq!(ends.map(Result::unwrap), [Reload::Reloaded, Reload::Unchanged]);
    assert_eq!(resolver.current().identity(), &new.certificate);
}

#[test]
fn a_certificate_outside_the_profile_is_not_loaded() {
    let member = ca(MEMBER);
    let files = Files::new();
    fs::write(&files.cert, member.cert_pem()).unwrap();
    write_key(&files.key, member.key_pem().as_bytes());
    assert!(matches!(
        load_identity(&files.cert, &files.key),
        Err(ReloadError::Profile(ProfileError::ValidityTooLong { .. }))
    ));
}

#[test]
fn keys_are_not_shown() {
    let issued = issue(&ca(MEMBER), Role::Node, "n1");
    let files = Files::new();
    files.write_cert(&issued);
    files.write_key(&issued);
    let resolver = ReloadingResolver::open(&files.cert, &files.key).unwrap();
    let shown = format!("{resolver:?}");
    assert!(shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("EcdsaSigningKey"), "{shown}");
}
