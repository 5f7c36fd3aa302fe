//! Looks after the room on the disk: an alarm while there is time to do something, and no more
//! transactions of this node's own clients when there is next to none, so that it can go on
//! following and voting for as long as the others order little. What is urgent is taken to the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::alarms::Alarms;
use crate::contained;
use crate::published::Published;

const ALARM: &str = "disk_filling";
/// How often the room is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// With less, transactions of clients are refused: what the Raft log sets aside for its next
/// files, a merge of small files of the ledger, and what is on its way.
const NEARLY_FULL_BYTES: u64 = 512 * MIB;
/// The alarm is raised with less than this, however small the disk.
const ALARM_BYTES_MIN: u64 = 1024 * MIB;
/// Of a small disk the alarm is raised when a tenth is left.
const ALARM_PART: u64 = 10;
const MIB: u64 = 1024 * 1024;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The room on a file system, for who is not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that can still be written.
    pub(crate) free: u64,
    /// Bytes that it has in all.
    pub(crate) size: u64,
}

/// What to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Enough,
    Filling,
    NearlyFull,
}

impl Room {
    /// Asks the file system that holds a path.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Self { free: bytes(stat.f_bavail), size: bytes(stat.f_blocks) })
    }

    fn judge(self, alarm_bytes: u64) -> Verdict {
        let alarm_bytes = alarm_bytes.min(self.size / ALARM_PART).max(ALARM_BYTES_MIN);
        match self.free {
            free if free < NEARLY_FULL_BYTES => Verdict::NearlyFull,
            free if free < alarm_bytes => Verdict::Filling,
            _ => Verdict::Enough,
        }
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} of {:.1} GiB are free", self.free as f64 / GIB, self.size as f64 / GIB)
    }
}

/// What the watcher works with.
pub(super) struct DiskWatch {
    pub(super) alarms: Arc<Alarms>,
    pub(super) published: Arc<Published>,
    pub(super) data_dir: PathBuf,
    /// Below this, or a tenth of the disk if that is less, an alarm is raised.
    pub(super) alarm_bytes: u64,
}

impl DiskWatch {
    /// Runs until the node stops.
    pub(super) async fn run(self, stopping: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let path = self.data_dir.clone();
                    match contained::blocking(move || Room::of(&path)).await {
                        Ok(Ok(room)) => self.tell(room),
                        Ok(Err(error)) => tracing::error!(%error, "the room on the disk cannot be read"),
                        Err(panicked) => tracing::error!(%panicked, "the room on the disk cannot be read"),
                    }
                }
                () = stopping.cancelled() => return,
            }
        }
    }

    fn tell(&self, room: Room) {
        metrics::gauge!("consilium_disk_free_bytes").set(room.free as f64);
        let verdict = room.judge(self.alarm_bytes);
        self.published.set_disk_nearly_full(verdict == Verdict::NearlyFull);
        let (alarms, place) = (&self.alarms, self.data_dir.display());
        match verdict {
            Verdict::Enough => alarms.clear(ALARM),
            Verdict::Filling => {
                alarms.raise(ALARM, format!("{place}: {room}; make room, or move data_dir to a larger disk"));
            }
            Verdict::NearlyFull => alarms.raise(
                ALARM,
                format!("{place}: {room}; this node takes no transactions of clients but urgent ones. Make room"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TEN_GIB: u64 = 10 * 1024 * MIB;

    #[test]
    fn the_alarm_comes_before_the_end() {
        let judge =
            |free_mib: u64, size_gib: u64| Room { free: free_mib * MIB, size: size_gib * 1024 * MIB }.judge(TEN_GIB);
        assert_eq!(judge(10 * 1024, 1_000), Verdict::Enough);
        assert_eq!(judge(10 * 1024 - 1, 1_000), Verdict::Filling);
        assert_eq!(judge(512, 1_000), Verdict::Filling);
        assert_eq!(judge(511, 1_000), Verdict::NearlyFull);
        // A tenth of a small disk, and a gibibyte of a tiny one.
        assert_eq!(judge(2 * 1024, 20), Verdict::Enough);
        assert_eq!(judge(2 * 1024 - 1, 20), Verdict::Filling);
        assert_eq!(judge(1_023, 2), Verdict::Filling);
        assert_eq!(judge(1_024, 2), Verdict::Enough);
    }

    #[test]
    fn a_file_system_tells_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::of(folder.path()).unwrap();
        assert!(room.size > 0 && room.free <= room.size, "{room:?}");
        assert!(Room::of(&folder.path().join("absent")).is_err());
        let room = Room { free: 512 * MIB, size: 50 * 1024 * MIB };
        assert_eq!(room.to_string(), "0.5 of 50.0 GiB are free");
    }
}
