//! Queues with a lane in front, for what is urgent and for what it waits for. Both lanes are
//! bounded by what is let into them, so that sending does not wait; and who takes from them
//! takes of both, so that neither keeps the other waiting for ever.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select_biased};

/// In which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Before all others.
    Front,
    /// In turn.
    Back,
}

/// The sending side.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    front: Sender<T>,
    back: Sender<T>,
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Self {
        Self { front: self.front.clone(), back: self.back.clone() }
    }
}

/// The receiving side.
#[derive(Debug)]
pub struct LaneEnds<T> {
    front: Receiver<T>,
    back: Receiver<T>,
}

impl<T> Clone for LaneEnds<T> {
    fn clone(&self) -> Self {
        Self { front: self.front.clone(), back: self.back.clone() }
    }
}

/// Opens a queue with so much room in each lane.
pub(crate) fn lanes<T>(front_max: usize, back_max: usize) -> (Lanes<T>, LaneEnds<T>) {
    let ((front, front_end), (back, back_end)) = (bounded(front_max), bounded(back_max));
    (Lanes { front, back }, LaneEnds { front: front_end, back: back_end })
}

impl<T> Lanes<T> {
    /// Sends; `None` if nobody takes it any more.
    pub(crate) fn send(&self, lane: Lane, item: T) -> Option<()> {
        let lane = match lane {
            Lane::Front => &self.front,
            Lane::Back => &self.back,
        };
        lane.send(item).ok()
    }
}

impl<T> LaneEnds<T> {
    /// Waits for one, at most so long.
    pub(crate) fn recv_timeout(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
        select_biased! {
            recv(self.front) -> item => item.map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.back) -> item => item.map_err(|_| RecvTimeoutError::Disconnected),
            default(patience) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Waits for one; `None` if nobody sends any more.
    pub(crate) fn recv(&self) -> Option<T> {
        select_biased! {
            recv(self.front) -> item => item.ok(),
            recv(self.back) -> item => item.ok(),
        }
    }

    /// Those that wait, at most so many: from the front, but for half of them from the back
    /// where more wait there.
    pub(crate) fn waiting(&self, max: usize) -> impl Iterator<Item = T> {
        let back = self.back.len().min(max / 2);
        let front = self.front.len().min(max - back);
        self.front.try_iter().take(front).chain(self.back.try_iter().take(max - front))
    }
}
