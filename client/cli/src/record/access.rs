//! What a record is read for, and for whom.

use std::path::PathBuf;

use clap::Args;
use consilium_client::Client;
use consilium_client::records::{Access, RecordReader};
use consilium_proto::ids::{EmergencyId, ProjectTag};
use consilium_proto::names::Role;
use consilium_proto::pb;

use crate::CliError;
use crate::patient::evidence;
use crate::words::parse_purpose;

/// What a record is read for. Each reading is an event in the patient's log.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Purpose of use: a code of HL7's v3-PurposeOfUse
    #[arg(long, value_name = "CODE", default_value = "TREAT", value_parser = parse_purpose)]
    pub(crate) purpose: pb::PurposeOfUse,
    /// The declared emergency for which it is; the purpose is BTG then
    #[arg(long, value_name = "EMERGENCY", conflicts_with = "purpose")]
    pub(crate) emergency: Option<EmergencyId>,
    /// Who reads, for a system that asks for people. Only its salted hash is sent; the salt is
    /// written beside it. Of an emergency a system must say it
    #[arg(long, value_name = "FILE")]
    pub(crate) acting: Option<PathBuf>,
    /// The project of research for which it is: 32 hexadecimal digits, as `consent list` shows them
    #[arg(long, value_name = "ID", conflicts_with = "emergency")]
    pub(crate) project: Option<ProjectTag>,
}

impl AccessArgs {
    /// For requests of this identity. The salt of `--acting` is written.
    pub(super) fn access(&self, client: &Client) -> Result<Access, CliError> {
        self.names_a_person(client.identity().spiffe_id().role())?;
        let purpose = if self.emergency.is_some() { pb::PurposeOfUse::Btg } else { self.purpose };
        let acting = self.acting.clone().map(evidence).transpose()?;
        Ok(Access { emergency: self.emergency, acting, project: self.project, ..Access::of(purpose) })
    }

    pub(super) fn reader(&self, client: &Client) -> Result<RecordReader, CliError> {
        Ok(RecordReader::with(client.clone(), self.access(client)?))
    }

    /// A system is in no emergency. The ledger asks for the person of the declaration only; the
    /// patient's list would say of each reading that it was for nobody.
    fn names_a_person(&self, reader: Role) -> Result<(), CliError> {
        match reader == Role::Service && self.emergency.is_some() && self.acting.is_none() {
            true => Err(CliError::usage("--emergency by a system without --acting: a system is in no emergency")
                .hint("name who reads with --acting FILE, as in the declaration")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        access: AccessArgs,
    }

    fn parsed(line: &str) -> Result<AccessArgs, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.access)
    }

    #[test]
    fn in_an_emergency_a_system_names_a_person_and_a_person_need_not() {
        let emergency = format!("get --emergency {}", "0e".repeat(16));
        let alone = parsed(&emergency).unwrap();
        let error = alone.names_a_person(Role::Service).unwrap_err().to_string();
        assert!(error.contains("--acting"), "{error}");
        assert!(alone.names_a_person(Role::Clinician).is_ok());
        let with_person = parsed(&format!("{emergency} --acting who.txt")).unwrap();
        assert!(with_person.names_a_person(Role::Service).is_ok());
        assert!(parsed("get").unwrap().names_a_person(Role::Service).is_ok(), "a bill is for no person");
    }

    #[test]
    fn a_project_is_named_as_consents_name_it_and_is_no_emergency() {
        let project = "07".repeat(16);
        let research = parsed(&format!("get --purpose HRESCH --project {project}")).unwrap();
        assert_eq!(research.project, Some(ProjectTag([7; 16])));
        assert!(parsed("get --project nephrology").is_err());
        assert!(parsed(&format!("get --emergency {project} --project {project}")).is_err());
    }
}
