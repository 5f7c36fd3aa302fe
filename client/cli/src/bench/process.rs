//! CPU time of processes, from /proc/PID/stat: user and system time over all
//! threads of the process, including those that ended.

use std::time::Duration;

/// USER_HZ, the unit of times in /proc: 100 on every Linux architecture that
/// this runs on, whatever the kernel's own tick.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTime(pub Duration);

impl CpuTime {
    /// Of a process; `None` if there is none of that id, or it is not shown.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// Reads fields 14 and 15 (utime, stime) of a stat line, see proc(5). Field 2
/// is a name in parentheses that may itself hold spaces and parentheses.
pub(crate) fn parse_stat(line: &str) -> Option<CpuTime> {
    let (_, after_name) = line.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    // The first field after the name is field 3.
    let user: u64 = fields.nth(14 - 3)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ms = user.checked_add(system)?.checked_mul(1000 / TICKS_PER_SECOND)?;
    Some(CpuTime(Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests;
