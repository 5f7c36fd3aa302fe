//! What processes have used, from /proc/PID: user and system time over all threads, including
//! those that ended; switches from one thread to another, of the threads that there are; and bytes
//! that went to disks. For load tests, of whatever servers; it measures nothing by itself.

#![forbid(unsafe_code)]

use std::time::Duration;

/// USER_HZ, the unit of times in /proc: 100 on every Linux architecture that
/// this runs on, whatever the kernel's own tick.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used so far, or between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// CPU time.
    pub cpu: Duration,
    /// Context switches, those that threads ask for by waiting and the others.
    pub switches: u64,
    /// Bytes written to disks; `None`: the system tells others than us.
    pub written_bytes: Option<u64>,
}

impl Used {
    /// Of a process; `None` if there is none of that id, or it is not shown.
    #[must_use]
    pub fn by(pid: u32) -> Option<Self> {
        let cpu = cpu_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        // Of processes of somebody else it is not shown.
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok();
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        // A thread may end before it is asked.
        let threads = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok());
        let switches = threads.map(|status| sum_of(&status, |name| name.ends_with("ctxt_switches"))).sum();
        let written_bytes = io.map(|io| sum_of(&io, |name| name == "write_bytes"));
        Some(Self { cpu, switches, written_bytes })
    }

    /// What was used since a moment before.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            switches: self.switches.saturating_sub(before.switches),
            written_bytes: self.written_bytes.zip(before.written_bytes).map(|(now, before)| now.saturating_sub(before)),
        }
    }
}

/// The most memory that a process has had at any time, bytes; `None` if there is none of that id.
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The sum of the values of some names, of lines with a name, a colon, and a number.
fn sum_of(lines: &str, is_wanted: impl Fn(&str) -> bool) -> u64 {
    let values = lines.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| is_wanted(name));
    values.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).sum()
}

/// Reads fields 14 and 15 (utime, stime) of a stat line, see proc(5). Field 2
/// is a name in parentheses that may itself hold spaces and parentheses.
fn cpu_time(line: &str) -> Option<Duration> {
    let (_, after_name) = line.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    // The first field after the name is field 3.
    let user: u64 = fields.nth(14 - 3)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ms = user.checked_add(system)?.checked_mul(1000 / TICKS_PER_SECOND)?;
    Some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests;
