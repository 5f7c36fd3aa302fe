//! A load test: a network with the shipped configuration but for how often
//! one identity may ask to read, and `consilium bench`
//! against it. The figures mean little where fsync does nothing.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;

use crate::cli::Running;
use crate::folder::StoryFolder;
use crate::scene::{Hospital, Scene};
use crate::tell::Tell;

const MEMBERS: usize = 3;
const MEMBERS_MAX: usize = 7;
/// One identity reads for all clients of the load.
const SETTINGS: &str = "\n[limits]\naccess_requests_per_minute = 1000000\naccess_requests_burst = 1000000\n";
const CUSTODIAN: &str = "custodian";
const LISTED: u32 = 1_000;
const AUDITOR: &str = "privacy-officer";

/// What this program does beside what `consilium bench` does: the flags that are its own.
#[derive(Debug, Default, PartialEq, Eq)]
struct Own {
    /// Instead of `--read --written-by`: a custodian runs, and wraps the key of every record that is read.
    first_reads: bool,
    /// After the load: an auditor lists so many records of one patient, beside all that the load wrote.
    listing: bool,
    /// Services that sign in turn.
    authors: usize,
    /// How long what one node sends to another takes, there and back.
    round_trip: Option<Duration>,
    /// To which node all clients go.
    through: Option<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Leader,
    Follower,
}

impl Own {
    /// Takes its flags out of the arguments.
    fn take(arguments: &mut Vec<String>) -> anyhow::Result<Self> {
        let mut own = Self::default();
        let mut rest = Vec::with_capacity(arguments.len());
        let mut given = std::mem::take(arguments).into_iter();
        while let Some(argument) = given.next() {
            let mut value = || given.next().with_context(|| format!("{argument} has no value"));
            match argument.as_str() {
                "--first-reads" => own.first_reads = true,
                "--listing" => own.listing = true,
                "--authors" => own.authors = value()?.parse().context("--authors: a number is meant")?,
                "--round-trip-ms" => {
                    let ms = value()?.parse().context("--round-trip-ms: a number is meant")?;
                    own.round_trip = Some(Duration::from_millis(ms));
                }
                "--through" => {
                    own.through = Some(match value()?.as_str() {
                        "leader" => Entry::Leader,
                        "follower" => Entry::Follower,
                        other => anyhow::bail!("--through {other}: leader or follower is meant"),
                    });
                }
                _ => rest.push(argument),
            }
        }
        *arguments = rest;
        Ok(own)
    }
}

pub(crate) async fn measure(folder: &StoryFolder, tell: &Rc<Tell>, arguments: &[String]) -> anyhow::Result<()> {
    let mut arguments = arguments.to_vec();
    let own = Own::take(&mut arguments)?;
    if arguments.is_empty() {
        arguments = ["--clients", "64", "--seconds", "20"].map(str::to_owned).to_vec();
    }
    let numbered = |n| Hospital { id: format!("hospital-{n}.example"), name: format!("Hospital {n}") };
    let hospitals: Vec<Hospital> = (1..=members()?).map(numbered).collect();
    let mut scene = Scene::new(folder.path(), Rc::clone(tell), hospitals)?;
    if let Some(round_trip) = own.round_trip {
        scene = scene.apart();
        let nodes: Vec<_> = scene.hospitals.iter().map(|hospital| scene.node(hospital)).collect();
        consilium_e2e::put_apart(&nodes, round_trip / 2).await?;
    }
    let mut network = scene.found_quietly(&scene.hospitals, "bench", &[], SETTINGS).await?;
    scene.cli.quietly("keys search --out search.key").await?;
    let first = scene.hospitals.first().context("a member")?;
    scene.connect_service(first, "bench", &scene.path("search.key"), false).await?;
    let (nodes, processors) = (network.nodes.len(), std::thread::available_parallelism()?);
    let disk = file_system(folder.path());
    println!("{nodes} nodes, {processors} processors, data on {disk} ({})", folder.path().display());
    let pids = network.nodes.iter().map(|node| Ok(node.pid()?.to_string())).collect::<anyhow::Result<Vec<_>>>()?;
    let pids = pids.join(",");
    let mut bench = format!("{} bench --pids {pids}", first.acts("bench"));
    for number in 1..=own.authors {
        let name = format!("author-{number}");
        scene.connect_service(first, &name, &scene.path("search.key"), false).await?;
        bench = format!("{bench} --author {}/{name}/config.toml", first.short());
    }
    if let Some(entry) = own.through {
        let leader = network.leader().await?;
        let is_meant = |position: &usize| (*position == leader) == (entry == Entry::Leader);
        let node = (0..nodes).find(is_meant).context("a network of one node has no follower")?;
        println!("all clients go to node {}, the leader is {}", node + 1, leader + 1);
        bench = format!("{bench} --endpoints {} --nodes-of *", network.nodes[node].client);
    }
    let mut custodian = None;
    if own.first_reads {
        custodian = Some(keep_custody(&scene, first).await?);
        bench = format!("{bench} --read --written-by {}/{CUSTODIAN}/config.toml", first.short());
    }
    scene.cli.hand_over(&bench, &arguments).await?;
    if own.listing {
        let config = format!("{}/bench/config.toml", first.short());
        scene.connect_auditor(first, AUDITOR, false).await?;
        let lists = format!("{} bench --pids {pids} --list {LISTED} --written-by {config}", first.acts(AUDITOR));
        scene.cli.hand_over(&lists, &["--sweep", "1,16", "--seconds", "10"].map(str::to_owned)).await?;
    }
    if let Some(mut custodian) = custodian {
        anyhow::ensure!(custodian.is_running()?, "the custodian ended before the load did");
    }
    scene.cli.show(&format!("{} status --all", first.acts("bench"))).await?;
    network.nodes.iter_mut().try_for_each(consilium_e2e::Node::stop)
}

/// A custodian that holds back nobody, for reads that need it.
async fn keep_custody(scene: &Scene, hospital: &Hospital) -> anyhow::Result<Running> {
    scene.connect_service(hospital, CUSTODIAN, &scene.path("search.key"), false).await?;
    scene.connect_admin(hospital, false).await?;
    let keeper = format!("spiffe://{}/service/{CUSTODIAN}", hospital.id);
    scene.cli.quietly(&format!("{} custodian set-key {keeper}", hospital.acts("admin"))).await?;
    scene.cli.start(&format!("{} custodian run --patients-per-hour 1000000", hospital.acts(CUSTODIAN)))
}

/// `MEMBERS_N`.
pub(crate) fn members() -> anyhow::Result<usize> {
    let Ok(text) = std::env::var("MEMBERS_N") else { return Ok(MEMBERS) };
    let number = text.parse().ok().filter(|n| (1..=MEMBERS_MAX).contains(n));
    number.with_context(|| format!("MEMBERS_N={text}: a number from 1 to {MEMBERS_MAX} is meant"))
}

/// The kind of file system, as stat(1) names it.
fn file_system(folder: &Path) -> String {
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(folder).output();
    output.map_or_else(|_| "an unknown disk".to_owned(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn its_own_flags_are_taken_out_of_those_of_the_load() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut arguments = words("--clients 7 --through follower --kem --round-trip-ms 30 --authors 64 --listing");
        let own = Own::take(&mut arguments).unwrap();
        assert_eq!(arguments, words("--clients 7 --kem"));
        let (through, round_trip) = (Some(Entry::Follower), Some(Duration::from_millis(30)));
        assert_eq!(own, Own { first_reads: false, listing: true, authors: 64, round_trip, through });
        assert!(Own::take(&mut words("--through nobody")).is_err());
        assert!(Own::take(&mut words("--authors")).is_err());
    }
}
