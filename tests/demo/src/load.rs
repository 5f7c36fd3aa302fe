//! A load test: a network with the shipped configuration but for how often
//! one identity may ask to read, and `consilium bench`
//! against it. The figures mean little where fsync does nothing.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Context;

use crate::folder::StoryFolder;
use crate::scene::{Hospital, Scene};
use crate::tell::Tell;

const MEMBERS: usize = 3;
const MEMBERS_MAX: usize = 7;
/// One identity reads for all clients of the load.
const SETTINGS: &str = "\n[limits]\naccess_requests_per_minute = 1000000\naccess_requests_burst = 1000000\n";

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
    let arguments = if arguments.is_empty() { &usual[..] } else { arguments };
    let bench = format!("{} bench --pids {}", first.acts("bench"), pids.join(","));
    scene.cli.hand_over(&bench, arguments).await?;
    scene.cli.show(&format!("{} status --all", first.acts("bench"))).await?;
    network.nodes.iter_mut().try_for_each(consilium_e2e::Node::stop)
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
