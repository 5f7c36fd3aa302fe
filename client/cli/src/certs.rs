//! `consilium certs`: a member's certificate authority in a folder.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consilium_certs::{
    CaBundle, CaCertificate, CaStore, Crl, IdentityCertificate, IdentityRequest, ProfileError, RevocationReason,
    RevokeTarget, Serial, StoreError, SubjectKey, Validity, pem,
};
use consilium_proto::names::{self, MemberId, Role, SpiffeId};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::text::time_s;
use super::{CliError, Context};
use consilium_client::files;

/// Certificates become valid this long ago, so that houses whose clocks are
/// behind accept them at once.
const BACKDATED: Duration = Duration::minutes(5);

/// What to do with a CA.
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CertsCommand,
}

/// What to do with a CA.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a member's CA in a new folder
    Init {
        /// Folder of the CA
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// SPIFFE trust domain of the member, for example st-mary.example
        #[arg(long, value_name = "ID", value_parser = parse::<MemberId>)]
        member: MemberId,
        /// Validity of the CA certificate
        #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(i64).range(1..=7300))]
        days: i64,
    },
    /// Issue an identity into <role>-<name>.pem and .key
    Issue(IssueArgs),
    /// Revoke a certificate, or all of an identity; then run `certs crl`
    Revoke {
        /// Folder of the CA
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Serial number, hexadecimal
        #[arg(long, value_name = "HEX", value_parser = parse::<Serial>, required_unless_present = "id", conflicts_with = "id")]
        serial: Option<Serial>,
        /// spiffe://<member>/<role>/<name>
        #[arg(long, value_name = "SPIFFE_ID", value_parser = parse::<SpiffeId>)]
        id: Option<SpiffeId>,
        /// unspecified, key-compromise, affiliation-changed, superseded,
        /// cessation-of-operation or privilege-withdrawn
        #[arg(long, default_value = "unspecified", value_parser = parse::<RevocationReason>)]
        reason: RevocationReason,
    },
    /// Sign the next revocation list, ca.crl in the CA's folder
    Crl {
        /// Folder of the CA
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// By when the next list is due
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=365))]
        days: i64,
    },
    /// Show certificates of a file, or a revocation list
    Inspect {
        /// PEM certificates, or a revocation list (DER or PEM)
        file: PathBuf,
        /// CA bundle to check a revocation list against, PEM
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
}

/// An identity to issue.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// Folder of the CA
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// node, admin, service, clinician, researcher, auditor, patient or device
    #[arg(long, value_parser = parse::<Role>)]
    pub(crate) role: Role,
    /// Name, unique within member and role; a patient's is drawn at random, as it stays on the
    /// ledger for ever
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Folder for the files [default: the CA's]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Validity, at most 824
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=824))]
    pub(crate) days: i64,
    /// DNS name to add, for servers
    #[arg(long, value_name = "NAME")]
    pub(crate) dns: Vec<String>,
    /// IP address to add, for servers
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Vec<IpAddr>,
    /// Issue a node's certificate without --dns and --ip, which clients in other languages refuse
    #[arg(long)]
    pub(crate) no_host_name: bool,
    /// PKCS#10 request (PEM) by the holder of a key made elsewhere
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: Option<PathBuf>,
}

#[derive(Serialize)]
struct CaView {
    member: String,
    certificate: PathBuf,
    not_after: String,
}

#[derive(Serialize)]
struct RevokedView {
    revoked: Vec<String>,
}

#[derive(Serialize)]
struct CrlView {
    file: PathBuf,
}

#[derive(Serialize)]
struct IssuedView {
    spiffe_id: String,
    serial: String,
    certificate: PathBuf,
    key: Option<PathBuf>,
    not_after: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Inspected {
    Identity { spiffe_id: String, serial: String, fingerprint: String, not_before: String, not_after: String },
    Ca { member: String, serial: String, path_length: u32, not_before: String, not_after: String },
    Outside { problem: String, problems: Vec<String> },
    Crl { number: String, this_update: String, next_update: String, revoked: Vec<String> },
}

/// Runs `consilium certs`.
pub(crate) fn run(args: CertsArgs, ctx: &Context) -> Result<(), CliError> {
    let now = OffsetDateTime::now_utc();
    match args.command {
        CertsCommand::Init { dir, member, days } => init(&dir, &member, validity(now, days), ctx),
        CertsCommand::Issue(args) => issue(args, now, ctx),
        CertsCommand::Revoke { dir, serial, id, reason } => {
            let target = match (serial, id) {
                (Some(serial), _) => RevokeTarget::Serial(serial),
                (None, Some(id)) => RevokeTarget::Identity(id),
                (None, None) => return Err(CliError::usage("give --serial or --id")),
            };
            let revoked = CaStore::open(&dir).map_err(store)?.revoke(&target, reason, now).map_err(store)?;
            let view = RevokedView { revoked: revoked.iter().map(Serial::to_string).collect() };
            ctx.print(&view, |v| {
                format!("revoked: {}\nin force once `certs crl` is run and the list is published", v.revoked.join(", "))
            })
        }
        CertsCommand::Crl { dir, days } => {
            CaStore::open(&dir).map_err(store)?.crl(now, Duration::days(days)).map_err(store)?;
            let view = CrlView { file: dir.join("ca.crl") };
            ctx.print(&view, |v| format!("revocation list: {}", v.file.display()))
        }
        CertsCommand::Inspect { file, ca } => inspect(&file, ca.as_deref(), ctx),
    }
}

fn init(dir: &Path, member: &MemberId, validity: Validity, ctx: &Context) -> Result<(), CliError> {
    let made = CaStore::init(dir, member, validity).map_err(store)?;
    let view = CaView {
        member: member.to_string(),
        certificate: dir.join("ca.pem"),
        not_after: time_s(made.ca().certificate().not_after()),
    };
    ctx.print(&view, |v| format!("CA of {}: {}\nvalid until {}", v.member, v.certificate.display(), v.not_after))
}

fn issue(args: IssueArgs, now: OffsetDateTime, ctx: &Context) -> Result<(), CliError> {
    if args.role == Role::Node && args.dns.is_empty() && args.ip.is_empty() && !args.no_host_name {
        return Err(CliError::usage(
            "give --dns or --ip: clients in other languages know a node by its host name (--no-host-name goes without)",
        ));
    }
    let ca = CaStore::open(&args.dir).map_err(store)?;
    let name = match (args.name, args.role) {
        (Some(name), _) => name,
        (None, Role::Patient) => names::new_patient_name().map_err(|e| CliError::failed(e.to_string()))?,
        (None, _) => return Err(CliError::usage("give --name: only a patient's is drawn")),
    };
    if is_telling(args.role, &name) {
        eprintln!("warning: the name stays on the ledger for ever: give a person a number, such as c-4711");
    }
    let request = IdentityRequest {
        role: args.role,
        name,
        dns_names: args.dns,
        ip_addrs: args.ip,
        validity: validity(now, args.days),
        key: SubjectKey::Generate,
    };
    let out = args.out.unwrap_or(args.dir);
    let issued = match args.csr {
        None => ca.issue(&request, &out),
        Some(csr) => ca.issue_for_csr(&request, &files::read_text(&csr)?, &out),
    }
    .map_err(store)?;
    let certificate = &issued.issued.certificate;
    let view = IssuedView {
        spiffe_id: certificate.spiffe_id().to_string(),
        serial: certificate.serial().to_string(),
        certificate: issued.cert_path.clone(),
        key: issued.key_path.clone(),
        not_after: time_s(certificate.not_after()),
    };
    ctx.print(&view, |v| {
        let key = v.key.as_ref().map(|k| format!("key: {}\n", k.display())).unwrap_or_default();
        format!("{}\ncertificate: {}\n{key}valid until {}", v.spiffe_id, v.certificate.display(), v.not_after)
    })
}

/// Whether a name may be a person's own: a number tells nobody who it is.
fn is_telling(role: Role, name: &str) -> bool {
    match role {
        Role::Clinician | Role::Researcher => !name.bytes().any(|byte| byte.is_ascii_digit()),
        Role::Node | Role::Admin | Role::Service | Role::Auditor | Role::Patient | Role::Device => false,
    }
}

fn inspect(file: &Path, ca: Option<&Path>, ctx: &Context) -> Result<(), CliError> {
    let inspected = match ca {
        Some(ca) => vec![inspect_crl(file, ca)?],
        None => pem::certificates(&files::read(file, files::SMALL_FILE_BYTES_MAX)?)
            .map_err(|e| CliError::failed(format!("{}: {e}", file.display())))?
            .iter()
            .map(|der| inspect_certificate(der))
            .collect(),
    };
    if inspected.is_empty() {
        let error = CliError::failed(format!("{}: no certificate in it", file.display()));
        return Err(error.hint("pass --ca to show a revocation list"));
    }
    ctx.print(&inspected, |all| all.iter().map(describe).collect::<Vec<_>>().join("\n\n"))?;
    let outside = inspected.iter().filter(|one| matches!(one, Inspected::Outside { .. })).count();
    if outside > 0 {
        let all = inspected.len();
        let error = CliError::failed(format!("{}: {outside} of {all} outside the profile", file.display()));
        return Err(error.hint("docs/certificates.md has the profile, and settings of CAs that keep to it"));
    }
    Ok(())
}

fn inspect_certificate(der: &[u8]) -> Inspected {
    match (IdentityCertificate::parse(der), CaCertificate::parse(der)) {
        (Ok(c), _) => Inspected::Identity {
            spiffe_id: c.spiffe_id().to_string(),
            serial: c.serial().to_string(),
            fingerprint: hex::encode(c.fingerprint()),
            not_before: time_s(c.not_before()),
            not_after: time_s(c.not_after()),
        },
        (Err(_), Ok(c)) => Inspected::Ca {
            member: c.member().to_string(),
            serial: c.serial().to_string(),
            path_length: c.path_length(),
            not_before: time_s(c.not_before()),
            not_after: time_s(c.not_after()),
        },
        (Err(_), Err(_)) => outside(der),
    }
}

/// What is wrong with a certificate that is neither: as a CA, if it says that it is one.
fn outside(der: &[u8]) -> Inspected {
    let (as_identity, as_ca) = (IdentityCertificate::problems(der), CaCertificate::problems(der));
    let (kind, problems) = match as_ca.contains(&ProfileError::NotACa) {
        _ if as_identity == as_ca => ("certificate", as_ca),
        true => ("identity", as_identity),
        false => ("CA", as_ca),
    };
    let problems: Vec<String> = problems.iter().map(ProfileError::to_string).collect();
    Inspected::Outside { problem: format!("no {kind}: {}", problems.join("; ")), problems }
}

fn inspect_crl(file: &Path, ca: &Path) -> Result<Inspected, CliError> {
    let bundle = CaBundle::from_pem(&files::read(ca, files::SMALL_FILE_BYTES_MAX)?)
        .map_err(|e| CliError::failed(format!("{}: {e}", ca.display())))?;
    let crl = Crl::parse(&crl_der(file)?, &bundle).map_err(|e| CliError::failed(format!("revocation list: {e}")))?;
    Ok(Inspected::Crl {
        number: crl.number().to_string(),
        this_update: time_s(crl.this_update()),
        next_update: time_s(crl.next_update()),
        revoked: crl.revoked().map(Serial::to_string).collect(),
    })
}

/// The revocation list of a file as DER, whichever of DER and PEM it is.
pub(crate) fn crl_der(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = files::read(path, files::SMALL_FILE_BYTES_MAX)?;
    pem::revocation_list(&bytes).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))
}

fn describe(inspected: &Inspected) -> String {
    match inspected {
        Inspected::Identity { spiffe_id, serial, fingerprint, not_before, not_after } => format!(
            "identity {spiffe_id}\n  serial {serial}\n  fingerprint {fingerprint}\n  valid {not_before} to {not_after}"
        ),
        Inspected::Ca { member, serial, path_length, not_before, not_after } => format!(
            "CA of {member}\n  serial {serial}\n  further CAs below it: {path_length}\n  valid {not_before} to {not_after}"
        ),
        Inspected::Outside { problems, .. } => {
            let reasons = problems.iter().map(|reason| format!("\n  {}", super::context::escaped(reason)));
            format!("outside the profile:{}", reasons.collect::<String>())
        }
        Inspected::Crl { number, this_update, next_update, revoked } => format!(
            "revocation list {number}\n  of {this_update}, next due {next_update}\n  revoked: {}",
            if revoked.is_empty() { "nothing".to_owned() } else { revoked.join(", ") }
        ),
    }
}

fn validity(now: OffsetDateTime, days: i64) -> Validity {
    Validity { not_before: now - BACKDATED, not_after: now + Duration::days(days) }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}

fn store(error: StoreError) -> CliError {
    CliError::failed(error.to_string())
}

#[cfg(test)]
mod tests;
