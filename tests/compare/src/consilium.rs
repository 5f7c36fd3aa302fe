//! Three nodes as `make bench-net` founds them, and `consilium bench` with a key wrap for the
//! custodian in each record.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use crate::Load;
use crate::measure::{Figures, Observed, WARM_UP};
use crate::programs::{descendants, name_of};

/// How long the nodes are watched, beside what the load measures: less, so that it is within.
const MARGIN: Duration = Duration::from_secs(1);

/// Where the network is founded from.
#[derive(Debug)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    pub(crate) fn find(folder: &Path) -> anyhow::Result<Self> {
        for name in ["consilium-demo", "consilium-node", "consilium"] {
            anyhow::ensure!(folder.join(name).is_file(), "{name} is not in {}", folder.display());
        }
        Ok(Self(folder.join("consilium-demo")))
    }
}

#[derive(Debug, Deserialize)]
struct Printed {
    result: Results,
}

#[derive(Debug, Deserialize)]
struct Results {
    submitted_bytes: u32,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Row {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// With it, of how many bytes a record is as it is submitted.
pub(crate) async fn measure(folder: &Path, programs: &Path, load: Load) -> anyhow::Result<(Figures, u32)> {
    let mut command = Command::new(Programs::find(programs)?.0);
    command.arg("bench").args(["--clients", &load.clients.to_string(), "--payload", &load.bytes.to_string()]);
    command.args(["--seconds", &load.seconds.as_secs().to_string(), "--kem", "--output", "json"]);
    command.env("BENCH_DIR", folder).stdin(Stdio::null()).stdout(Stdio::piped());
    tokio::task::spawn_blocking(move || watch(command, load)).await?
}

fn watch(mut command: Command, load: Load) -> anyhow::Result<(Figures, u32)> {
    let mut demo = command.spawn().with_context(|| format!("{command:?}"))?;
    let mut lines = BufReader::new(demo.stdout.take().context("it prints nowhere")?);
    let mut first = String::new();
    // The nodes run, and the load begins.
    lines.read_line(&mut first)?;
    std::thread::park_timeout(WARM_UP + MARGIN);
    let nodes = descendants(demo.id()).into_iter().filter(|pid| name_of(*pid).is_some_and(|n| n == "consilium-node"));
    let nodes: Vec<u32> = nodes.collect();
    let observed = Observed::of(&nodes, load.seconds.saturating_sub(2 * MARGIN))?;
    let mut rest = String::new();
    lines.read_to_string(&mut rest)?;
    anyhow::ensure!(demo.wait()?.success(), "{first}{rest}");
    let results = results(&rest).with_context(|| format!("no figures in {rest}"))?;
    let Row { per_second, p50_ms, p99_ms } = *results.rows.first().context("no row")?;
    Ok((Figures { per_second, p50_ms, p99_ms, each: observed.each(per_second) }, results.submitted_bytes))
}

/// What stands among other lines.
fn results(printed: &str) -> Option<Results> {
    let mut results = serde_json::Deserializer::from_str(printed.get(printed.find('{')?..)?).into_iter::<Printed>();
    Some(results.next()?.ok()?.result)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_figures_are_found_among_what_is_printed() {
        let printed = "note\n{\n \"schema\": 2,\n \"result\": {\"note\": \"n\", \"submitted_bytes\": 7, \"rows\": [{\"clients\": 1, \
                       \"per_second\": 300.5, \"p50_ms\": 3.0, \"p99_ms\": 9.0}]}\n}\nnode-1 leads\n";
        let results = results(printed).unwrap();
        let row = results.rows[0];
        assert_eq!((results.submitted_bytes, row.per_second, row.p50_ms, row.p99_ms), (7, 300.5, 3.0, 9.0));
        assert!(super::results("nothing").is_none());
    }
}
