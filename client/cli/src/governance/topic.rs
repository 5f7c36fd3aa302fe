//! From arguments to the topic that is signed.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_certs::CaBundle;
use consilium_proto::limits::POLICY_BYTES_MAX;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, proposal_topic::Topic as Pb};

use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::ceremony::{self, PART_BYTES_MAX, public_vote_key, refuse_private_key};
use consilium_client::files::{self, SMALL_FILE_BYTES_MAX};
use consilium_client::membership::NodeRef;
use consilium_client::membership::folder::successor;
use consilium_client::parameters;

/// What a proposal does.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicArgs {
    /// Let an organisation in
    Admit {
        /// The part that it made with `member part`
        #[arg(long, value_name = "FILE")]
        part: PathBuf,
        /// Stake to allot [default: as its part asks]
        #[arg(long)]
        stake: Option<u64>,
    },
    /// Cut a member off at once
    Suspend {
        /// Its id
        member: String,
    },
    /// Give a suspended member its rights back
    Reinstate {
        /// Its id
        member: String,
    },
    /// End a membership for good
    Remove {
        /// Its id
        member: String,
        /// The member that keeps its records from then on [default: the one that has accepted it]
        #[arg(long, value_name = "MEMBER")]
        successor: Option<String>,
    },
    /// Replace a member's CA bundle
    RotateCa {
        /// Its id
        member: String,
        /// The whole new bundle, PEM
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// Keep none of the present CAs: after a compromise
        #[arg(long)]
        without_overlap: bool,
    },
    /// Add a node of a member
    AddNode {
        /// The owner's id
        member: String,
        /// The node
        #[command(flatten)]
        node: NewNodeArgs,
    },
    /// Put a new machine in the place of a lost node
    ReplaceNode {
        /// The lost one: raft id, SPIFFE id or MEMBER/NAME
        #[arg(value_name = "NODE")]
        lost: NodeRef,
        /// The new one
        #[command(flatten)]
        node: SuccessorArgs,
        /// Public half of its vote key, FILE.pub of `keys vote`
        #[arg(long, value_name = "FILE.pub")]
        vote_key: PathBuf,
    },
    /// Take a node out for good
    RetireNode {
        /// Raft id, SPIFFE id or MEMBER/NAME
        node: NodeRef,
    },
    /// Set a member's stake
    AllotStake {
        /// Its id
        member: String,
        /// The new allotment
        stake: u64,
    },
    /// Change parameters; all others stay as they are in force
    SetParameter {
        /// For example epoch_ms=3600000 or quorum=2/3
        #[arg(value_name = "NAME=VALUE", required = true)]
        parameters: Vec<String>,
    },
    /// Set the access policy
    AccessPolicy {
        /// Its text, UTF-8
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Reverse a penalty
    LiftPenalty {
        /// Its number, see `validators penalties`
        penalty: u64,
    },
    /// Switch to another version of the rules
    ActivateProtocol {
        /// The version
        version: u32,
        /// First height that it holds at
        #[arg(long)]
        height: u64,
    },
}

/// A node that is to join.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewNodeArgs {
    /// Name in its SPIFFE id
    #[arg(long)]
    pub(crate) name: String,
    /// Where the other nodes reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer: String,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) client: String,
    /// Public half of its vote key, FILE.pub of `keys vote`
    #[arg(long, value_name = "FILE.pub")]
    pub(crate) vote_key: PathBuf,
}

/// What differs from the lost node.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SuccessorArgs {
    /// Name in its SPIFFE id [default: as before]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where the other nodes reach it [default: as before]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer: Option<String>,
    /// Where clients reach it [default: as before]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) client: Option<String>,
}

impl NewNodeArgs {
    /// As the ledger is told.
    pub(crate) fn description(&self) -> Result<pb::NodeDescription, ClientError> {
        Ok(pb::NodeDescription {
            name: self.name.clone(),
            peer_address: self.peer.clone(),
            client_address: self.client.clone(),
            vote_key: read_vote_key(&self.vote_key)?,
        })
    }
}

impl SuccessorArgs {
    /// The lost node with what differs.
    pub(crate) fn description(&self, lost: &pb::NodeState, vote_key: Bytes) -> pb::NodeDescription {
        successor(lost, self.name.clone(), self.peer.clone(), self.client.clone(), vote_key)
    }
}

/// Reads the public half of a vote key.
pub(crate) fn read_vote_key(path: &Path) -> Result<Bytes, ClientError> {
    public_vote_key("the vote key's file", &files::read(path, SMALL_FILE_BYTES_MAX)?)
}

impl TopicArgs {
    /// The topic that is signed. Asks the network only for what the arguments
    /// leave open: raft ids, parameters that stay, who has accepted a custody.
    pub(crate) async fn build(&self, client: &Client) -> Result<pb::ProposalTopic, ClientError> {
        let topic = match self {
            Self::Admit { part, stake } => Pb::AdmitMember(admit(part, *stake)?),
            Self::Suspend { member } => Pb::SuspendMember(pb::SuspendMember { member: member.clone() }),
            Self::Reinstate { member } => Pb::ReinstateMember(pb::ReinstateMember { member: member.clone() }),
            Self::Remove { member, successor } => {
                let successor = match successor {
                    Some(successor) => successor.clone(),
                    None => accepted_successor(client, member).await?,
                };
                Pb::RemoveMember(pb::RemoveMember { member: member.clone(), successor })
            }
            Self::RotateCa { member, bundle, without_overlap } => {
                Pb::RotateCaBundle(rotate(member, bundle, *without_overlap)?)
            }
            Self::AddNode { member, node } => {
                Pb::AddNode(pb::RegisterNode { member: member.clone(), node: Some(node.description()?) })
            }
            Self::ReplaceNode { lost, node, vote_key } => {
                let vote_key = read_vote_key(vote_key)?;
                let members = client.list_members(None).await?.into_claimed();
                let lost = lost.find(&members)?;
                let node = Some(node.description(lost, vote_key));
                Pb::ReplaceNode(pb::ReplaceNode { raft_id: lost.raft_id, node })
            }
            Self::RetireNode { node } => {
                let members = client.list_members(None).await?.into_claimed();
                Pb::RetireNode(pb::RetireNode { raft_id: node.find(&members)?.raft_id })
            }
            Self::AllotStake { member, stake } => {
                Pb::AllotStake(pb::AllotStake { member: member.clone(), stake: *stake })
            }
            Self::SetParameter { parameters } => {
                let mut all = client.proven_parameters().await?;
                parameters::set_all(&mut all, parameters)?;
                Pb::ChangeParameters(all)
            }
            Self::AccessPolicy { file } => Pb::SetAccessPolicy(pb::SetAccessPolicy { text: policy(file)? }),
            Self::LiftPenalty { penalty } => Pb::LiftPenalty(pb::LiftPenalty { penalty: *penalty }),
            Self::ActivateProtocol { version, height } => {
                Pb::ActivateProtocol(pb::ActivateProtocol { version: *version, height: *height })
            }
        };
        Ok(pb::ProposalTopic { topic: Some(topic) })
    }
}

/// Who has accepted to keep a member's records; empty: nobody.
async fn accepted_successor(client: &Client, member: &str) -> Result<String, ClientError> {
    let custody = client.custody_of(&MemberId::parse("member", member)?).await?;
    Ok(custody.map(|custody| custody.successor).unwrap_or_default())
}

fn admit(part: &Path, stake: Option<u64>) -> Result<pb::AdmitMember, ClientError> {
    let parsed = ceremony::parse_part(&files::read(part, PART_BYTES_MAX)?);
    let mut member = parsed.map_err(|e| ClientError::file(part, e))?;
    member.stake = stake.unwrap_or(member.stake);
    Ok(pb::AdmitMember { member: Some(member) })
}

fn rotate(member: &str, bundle: &Path, without_overlap: bool) -> Result<pb::RotateCaBundle, ClientError> {
    let pem = files::read(bundle, SMALL_FILE_BYTES_MAX)?;
    refuse_private_key("the CA bundle", &pem)?;
    let parsed = CaBundle::from_pem(&pem).map_err(|e| ClientError::file(bundle, e))?;
    if parsed.member().as_str() != member {
        return Err(ClientError::file(bundle, format!("is of {}, not of {member}", parsed.member())));
    }
    let ca_bundle = parsed.to_ders().into_iter().map(Bytes::from).collect();
    Ok(pb::RotateCaBundle { member: member.to_owned(), ca_bundle, without_overlap })
}

fn policy(file: &Path) -> Result<String, ClientError> {
    let bytes = files::read(file, POLICY_BYTES_MAX as u64)?;
    String::from_utf8(bytes).map_err(|_| ClientError::file(file, "is not UTF-8 text"))
}
