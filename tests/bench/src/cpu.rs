//! CPU time of the thread that runs a benchmark, so that whatever else the machine does is not
//! measured with it. What is left to other threads, as compactions of a database, is not seen.

use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used so far.
#[must_use]
pub fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Measures it in the place of wall clock time.
#[derive(Debug, Clone, Copy)]
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        used()
    }

    fn end(&self, started: Duration) -> Duration {
        used() - started
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// How long a piece of work takes, in CPU time, at some of a thousand places of all samples.
#[must_use]
pub fn percentiles<const N: usize>(samples: usize, per_mille: [usize; N], mut work: impl FnMut()) -> [Duration; N] {
    let taken = (0..samples).map(|_| {
        let started = used();
        work();
        used() - started
    });
    let mut taken: Vec<_> = taken.collect();
    taken.sort_unstable();
    per_mille.map(|at| taken[(samples - 1) * at / 1000])
}

/// As [`Throughput`], for the benchmarks that say how many records they take.
#[must_use]
pub fn records(count: usize) -> Throughput {
    Throughput::Elements(count as u64)
}
