//! `consilium patient`: who is who. Identifiers come from files, one on a line, never from
//! arguments: those are seen by every process of a machine. What a member says of a patient is in
//! [`rights`], what the ledger says in [`show`].

mod linked;
mod records;
mod rights;
mod salt;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use consilium_client::fhir::PatientName;
use consilium_client::patients::Patients;
use consilium_client::{ClientError, files};
use consilium_proto::ids::PatientPseudonym;
use serde::Serialize;

use super::{CliError, Context};
pub(crate) use records::RecordsView;
#[cfg(test)]
pub(crate) use records::tests::view as records_view;
pub(crate) use rights::evidence;

/// Bytes of a file of identifiers.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Find and register patients, and who speaks for them
#[derive(Debug, Args)]
pub(crate) struct PatientArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: PatientCommand,
}

/// Find and register patients. An identifier is written as in FHIR references: `Patient/ID`, a
/// URL, `urn:uuid:...`, or `system|value`.
#[derive(Debug, Subcommand)]
pub(crate) enum PatientCommand {
    /// The pseudonyms of identifiers
    Find {
        /// File with an identifier on each line
        #[arg(value_name = "FILE")]
        identifiers: PathBuf,
    },
    /// The same, and registers who is not found (role service or clinician)
    Register {
        /// File with an identifier on each line
        #[arg(value_name = "FILE")]
        identifiers: PathBuf,
    },
    /// Adds identifiers by which a patient is found (role service or clinician)
    AddIdentifiers {
        /// The patient's pseudonym
        #[arg(value_name = "HEX")]
        patient: PatientPseudonym,
        /// File with an identifier on each line, at most 8
        #[arg(value_name = "FILE")]
        identifiers: PathBuf,
    },
    /// Accept an identity as the patient's or its representative's, for the own member (role
    /// service or clinician)
    Accept(rights::AcceptArgs),
    /// Take that back: nothing that the identity signed binds the own member any more
    Withdraw(rights::WithdrawArgs),
    /// Say that two pseudonyms, and all that are linked with either, are one person's, for the own
    /// member's records
    Link(rights::LinkArgs),
    /// Take that back: the second one is linked with none of them any more
    Unlink(rights::UnlinkArgs),
    /// Say that the patient has died, for the own member's records
    Death(rights::DeathArgs),
    /// Show what was read and written while pseudonyms were taken for one person's (role auditor)
    Linked {
        /// The patient's pseudonym
        #[arg(value_name = "HEX")]
        patient: PatientPseudonym,
        /// Show readers' names, too: opaque, as the ledger has them
        #[arg(long)]
        names: bool,
    },
    /// Hand on the salt under which the own member blinds the patient's labels, and make one where there
    /// is none (role service or clinician)
    Salt(salt::SaltArgs),
    /// Say that the patient is under the own member's care
    Care(rights::CareArgs),
    /// List which records a patient has, proven to be all that there are (for auditors, and for the
    /// patient and those who speak for it)
    Records(records::RecordsArgs),
    /// Show who speaks for a patient, its other pseudonyms, who cares for it, and which kinds of records
    /// it has
    Show {
        /// The patient's pseudonym
        #[arg(value_name = "HEX")]
        patient: PatientPseudonym,
    },
}

/// Which line leads to whom.
#[derive(Serialize)]
struct FoundView {
    patients: Vec<LineView>,
}

#[derive(Serialize)]
struct LineView {
    /// From 1.
    line: usize,
    /// Hexadecimal; null if nobody is found.
    pseudonym: Option<String>,
}

#[derive(Serialize)]
struct AddedView {
    pseudonym: String,
    added: usize,
}

/// Runs `consilium patient`.
pub(crate) async fn run(args: PatientArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        PatientCommand::Accept(args) => rights::accept(args, ctx).await,
        PatientCommand::Withdraw(args) => rights::withdraw(args, ctx).await,
        PatientCommand::Link(args) => rights::link(args, ctx).await,
        PatientCommand::Unlink(args) => rights::unlink(args, ctx).await,
        PatientCommand::Death(args) => rights::death(args, ctx).await,
        PatientCommand::Linked { patient, names } => linked::run(patient, names, ctx).await,
        PatientCommand::Salt(args) => salt::run(args, ctx).await,
        PatientCommand::Care(args) => rights::care(args, ctx).await,
        PatientCommand::Records(args) => records::records(args, ctx).await,
        PatientCommand::Show { patient } => show::run(patient, ctx).await,
        PatientCommand::Find { identifiers } => {
            let patients = patients(ctx).await?;
            let mut found = Vec::new();
            for (line, identifier) in lines(&patients, identifiers)? {
                let pseudonym = patients.find_named(&identifier).await?.map(|patient| patient.to_string());
                found.push(LineView { line, pseudonym });
            }
            ctx.claims("completeness", "whom an identifier leads to is proven; that it leads to nobody is not");
            print(found, ctx)
        }
        PatientCommand::Register { identifiers } => {
            let patients = patients(ctx).await?;
            let lines = lines(&patients, identifiers)?;
            let of = patients.ensure_named(lines.iter().map(|(_, name)| name)).await?;
            let pseudonym = |name: &PatientName| of.get(name.canonical()).map(ToString::to_string);
            let found = lines.iter().map(|(line, text)| LineView { line: *line, pseudonym: pseudonym(text) });
            print(found.collect(), ctx)
        }
        PatientCommand::AddIdentifiers { patient, identifiers } => {
            let patients = patients(ctx).await?;
            let identifiers: Vec<_> =
                lines(&patients, identifiers)?.into_iter().map(|(_, name)| name.canonical().to_owned()).collect();
            patients.add_lookups(patient, &identifiers).await?;
            let view = AddedView { pseudonym: patient.to_string(), added: identifiers.len() };
            ctx.print(&view, |v| format!("patient {} is found by {} more", v.pseudonym, v.added))
        }
    }
}

async fn patients(ctx: &Context) -> Result<Patients, CliError> {
    Ok(Patients::new(ctx.client().await?)?)
}

/// Lines that are not empty, with their numbers.
fn lines(patients: &Patients, file: PathBuf) -> Result<Vec<(usize, PatientName)>, CliError> {
    let bytes = files::read(&file, FILE_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ClientError::file(&file, "is not UTF-8"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let lines: Vec<_> = lines.map(|(at, line)| (at + 1, patients.named(line.trim()))).collect();
    match lines.is_empty() {
        true => Err(ClientError::file(&file, "holds no identifier").into()),
        false => Ok(lines),
    }
}

fn print(patients: Vec<LineView>, ctx: &Context) -> Result<(), CliError> {
    ctx.print(&FoundView { patients }, |view| {
        let line = |v: &LineView| format!("line {}: {}", v.line, v.pseudonym.as_deref().unwrap_or("nobody"));
        view.patients.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_pseudonyms_by_line() {
        let pseudonym = Some("0a".repeat(16));
        let patients = vec![LineView { line: 1, pseudonym }, LineView { line: 3, pseudonym: None }];
        json::snapshot::check("patients", &FoundView { patients });
        json::snapshot::check("patient-identifiers", &AddedView { pseudonym: "0a".repeat(16), added: 2 });
    }
}
