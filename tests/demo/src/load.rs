//! A load test: a network with the shipped configuration but for how often
//! one identity may ask to read, and `consilium bench`
//! against it. The figures mean little where fsync does nothing.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Context;

use crate::cli::Running;
use crate::folder::StoryFolder;
use crate::scene::{Hospital, Scene};
use crate::tell::Tell;

const MEMBERS: usize = 3;
const MEMBERS_MAX: usize = 7;
/// One identity reads for all clients of the load.
const SETTINGS: &str = "\n[limits]\naccess_requests_per_minute = 1000000\naccess_requests_burst = 1000000\n";
/// Instead of `--read --written-by`: a custodian runs, and wraps the key of every record that is read.
const FIRST_READS: &str = "--first-reads";
const CUSTODIAN: &str = "custodian";
/// After the load: an auditor lists so many records of one patient, beside all that the load wrote.
const LISTING: &str = "--listing";
const LISTED: u32 = 1_000;
const AUDITOR: &str = "privacy-officer";

pub(crate) async fn measure(folder: &StoryFolder, tell: &Rc<Tell>, arguments: &[String]) -> anyhow::Result<()> {
    let numbered = |n| Hospital { id: format!("hospital-{n}.example"), name: format!("Hospital {n}") };
    let hospitals: Vec<Hospital> = (1..=members()?).map(numbered).collect();
    let scene = Scene::new(folder.path(), Rc::clone(tell), hospitals)?;
    let mut network = scene.found_quietly(&scene.hospitals, "bench", &[], SETTINGS).await?;
    scene.cli.quietly("keys search --out search.key").await?;
    let first = scene.hospitals.first().context("a member")?;
    scene.connect_service(first, "bench", &scene.path("search.key"), false).await?;
    let (nodes, processors) = (network.nodes.len(), std::thread::available_parallelism()?);
    let disk = file_system(folder.path());
    println!("{nodes} nodes, {processors} processors, data on {disk} ({})", folder.path().display());
    let pids = network.nodes.iter().map(|node| Ok(node.pid()?.to_string())).collect::<anyhow::Result<Vec<_>>>()?;
    let usual = ["--clients", "64", "--seconds", "20"].map(str::to_owned);
    let mut arguments = if arguments.is_empty() { usual.to_vec() } else { arguments.to_vec() };
    let mut bench = format!("{} bench --pids {}", first.acts("bench"), pids.join(","));
    let mut custodian = None;
    if let Some(place) = arguments.iter().position(|argument| argument == FIRST_READS) {
        arguments.remove(place);
        custodian = Some(keep_custody(&scene, first).await?);
        bench = format!("{bench} --read --written-by {}/{CUSTODIAN}/config.toml", first.short());
    }
    if let Some(place) = arguments.iter().position(|argument| argument == LISTING) {
        arguments.remove(place);
        scene.cli.hand_over(&bench, &arguments).await?;
        let config = format!("{}/bench/config.toml", first.short());
        scene.connect_auditor(first, AUDITOR, false).await?;
        let pids = pids.join(",");
        bench = format!("{} bench --pids {pids} --list {LISTED} --written-by {config}", first.acts(AUDITOR));
        arguments = ["--sweep", "1,16", "--seconds", "10"].map(str::to_owned).to_vec();
    }
    scene.cli.hand_over(&bench, &arguments).await?;
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
