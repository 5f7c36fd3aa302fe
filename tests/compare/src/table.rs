//! The table: a line for each number of clients and system, with its ratio to Consilium.

use std::fmt::Write as _;

use crate::System;
use crate::measure::{Figures, medians};

/// What was measured once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) system: System,
    pub(crate) clients: u32,
    pub(crate) figures: Figures,
}

/// Medians of all rounds, in Markdown.
pub(crate) fn table(cells: &[Cell]) -> String {
    let mut told = String::from(
        "\n| clients | system | writes/s | p50 ms | p99 ms | CPU us | switches | written B | syncs | Consilium to it |\n\
         |---:|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut places: Vec<(u32, System)> = cells.iter().map(|cell| (cell.clients, cell.system)).collect();
    places.sort();
    places.dedup();
    for (clients, system) in places {
        let Some(figures) = middle(cells, clients, system) else { continue };
        let ratio = middle(cells, clients, System::Consilium).map(|own| own.per_second / figures.per_second);
        let ratio = ratio.filter(|_| system != System::Consilium);
        let Figures { per_second, p50_ms, p99_ms, each } = figures;
        // Nothing fails that is written to a string.
        let _ = writeln!(
            told,
            "| {clients} | {} | {per_second:.0} | {p50_ms:.2} | {p99_ms:.1} | {:.0} | {:.1} | {} | {} | {} |",
            system.name(),
            each.cpu_us,
            each.switches,
            or_dash(each.written_bytes, 0),
            or_dash(each.syncs, 2),
            or_dash(ratio, 2),
        );
    }
    told
}

fn middle(cells: &[Cell], clients: u32, system: System) -> Option<Figures> {
    let of = cells.iter().filter(|cell| (cell.clients, cell.system) == (clients, system));
    medians(&of.map(|cell| cell.figures).collect::<Vec<_>>())
}

fn or_dash(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Each;

    #[test]
    fn each_system_has_a_line_with_the_ratio_to_it() {
        let cell = |system, per_second| {
            let each = Each { cpu_us: 240.0, switches: 1.5, written_bytes: None, syncs: Some(0.25) };
            Cell { system, clients: 64, figures: Figures { per_second, p50_ms: 11.0, p99_ms: 30.0, each } }
        };
        let told = table(&[cell(System::Consilium, 3_000.0), cell(System::Etcd, 4_000.0)]);
        let lines: Vec<&str> = told.trim().lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| 64 | Consilium | 3000 | 11.00 | 30.0 | 240 | 1.5 | - | 0.25 | - |",
                "| 64 | etcd | 4000 | 11.00 | 30.0 | 240 | 1.5 | - | 0.25 | 0.75 |",
            ]
        );
    }
}
