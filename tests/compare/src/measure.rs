//! Figures of one load: what clients waited for, and what the servers used meanwhile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use consilium_usage::Used;

/// Not measured, at the start of each load.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// The calls by which data get onto disks.
const SYNCS: [&str; 2] = ["syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync"];

/// Of one load, or medians of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    /// Writes that took effect.
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Of all servers, for each write.
    pub(crate) each: Each,
}

/// What all servers used for a write.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Each {
    pub(crate) cpu_us: f64,
    pub(crate) switches: f64,
    /// `None`: the system does not tell.
    pub(crate) written_bytes: Option<f64>,
    pub(crate) syncs: Option<f64>,
}

/// What processes used within a time.
#[derive(Debug)]
pub(crate) struct Observed {
    used: Vec<Used>,
    syncs: Option<u64>,
    during: Duration,
}

impl Observed {
    /// Watches processes for so long. Blocks the thread.
    pub(crate) fn of(pids: &[u32], during: Duration) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let before: Vec<_> = pids.iter().filter_map(|pid| Some((*pid, Used::by(*pid)?))).collect();
        let syncs = count_syncs(pids, during)?;
        let used = before.into_iter().filter_map(|(pid, before)| Some(Used::by(pid)?.since(before))).collect();
        Ok(Self { used, syncs, during: begun.elapsed() })
    }

    /// For each of so many writes a second.
    pub(crate) fn each(&self, per_second: f64) -> Each {
        let writes = (per_second * self.during.as_secs_f64()).max(f64::MIN_POSITIVE);
        let cpu: Duration = self.used.iter().map(|used| used.cpu).sum();
        let written = self.used.iter().map(|used| used.written_bytes).sum::<Option<u64>>();
        Each {
            cpu_us: cpu.as_secs_f64() * 1e6 / writes,
            switches: self.used.iter().map(|used| used.switches).sum::<u64>() as f64 / writes,
            written_bytes: written.map(|bytes| bytes as f64 / writes),
            syncs: self.syncs.map(|syncs| syncs as f64 / writes),
        }
    }
}

/// Waits so long, and counts how often processes sync, if `perf` is here and may.
fn count_syncs(pids: &[u32], during: Duration) -> anyhow::Result<Option<u64>> {
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let seconds = during.as_secs_f64().to_string();
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ";", "-e", &SYNCS.join(","), "-p", &list, "--", "sleep", &seconds]);
    let begun = Instant::now();
    let output = perf.stdin(Stdio::null()).output();
    std::thread::park_timeout(during.saturating_sub(begun.elapsed()));
    let Ok(output) = output else { return Ok(None) };
    Ok(counted(&String::from_utf8_lossy(&output.stderr)))
}

/// The sum of what `perf stat -x ;` prints; `None`: it counted nothing.
fn counted(printed: &str) -> Option<u64> {
    let counts = printed.lines().filter(|line| line.contains("sys_enter_"));
    let counts: Vec<u64> = counts.filter_map(|line| line.split(';').next()?.parse().ok()).collect();
    (counts.len() == SYNCS.len()).then(|| counts.iter().sum())
}

/// The middle one; of an even number the lower.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// Medians of each figure by itself.
pub(crate) fn medians(all: &[Figures]) -> Option<Figures> {
    let of = |figure: fn(&Figures) -> f64| median(all.iter().map(figure).collect());
    let told = |figure: fn(&Figures) -> Option<f64>| {
        let values = all.iter().map(figure).collect::<Option<Vec<f64>>>()?;
        median(values)
    };
    Some(Figures {
        per_second: of(|f| f.per_second)?,
        p50_ms: of(|f| f.p50_ms)?,
        p99_ms: of(|f| f.p99_ms)?,
        each: Each {
            cpu_us: of(|f| f.each.cpu_us)?,
            switches: of(|f| f.each.switches)?,
            written_bytes: told(|f| f.each.written_bytes),
            syncs: told(|f| f.each.syncs),
        },
    })
}

/// A share of values that are in order, for example 0.99.
pub(crate) fn quantile(ordered: &[f64], share: f64) -> f64 {
    let place = (ordered.len() as f64 * share) as usize;
    ordered.get(place.min(ordered.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_several_rounds_the_middle_one_is_shown() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.0));
        let figures = |n: f64, syncs| Figures {
            per_second: n,
            p50_ms: 10.0 - n,
            p99_ms: n,
            each: Each { cpu_us: n, switches: n, written_bytes: Some(n), syncs },
        };
        let middle = medians(&[figures(1.0, Some(1.0)), figures(9.0, None), figures(5.0, Some(2.0))]).unwrap();
        assert_eq!((middle.per_second, middle.p50_ms, middle.each.syncs), (5.0, 5.0, None));
    }

    #[test]
    fn syncs_are_counted_where_perf_counts_both_calls() {
        let printed =
            "120;;syscalls:sys_enter_fsync;3000000;100.00;;\n7;;syscalls:sys_enter_fdatasync;3000000;100.00;;\n";
        assert_eq!(counted(printed), Some(127));
        assert_eq!(counted("<not supported>;;syscalls:sys_enter_fsync;0;100.00;;\n"), None);
        assert_eq!(counted("perf: no permission\n"), None);
    }

    #[test]
    fn quantiles_are_of_values_in_order() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!([quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)], [50.0, 99.0, 99.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
