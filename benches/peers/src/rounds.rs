//! Measures in rounds in which every subject has a turn, so that other load of the machine affects all subjects alike.

use std::fmt::Write;
use std::time::Instant;

use crate::allocations::{Allocated, count};
use crate::subject::{Op, Subject};

/// The amount of work to measure.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub rounds: usize,
    /// The number of operations of each subject in a round.
    pub operations: usize,
    /// The number of operations whose allocations are counted.
    pub counted: usize,
}

/// A subject with its name and notes for the table.
pub struct Entry<'a> {
    pub name: &'static str,
    pub note: &'static str,
    pub subject: Box<dyn Subject + 'a>,
}

/// The measurements of one subject.
struct Measured {
    /// Nanoseconds per operation, round by round.
    nanoseconds: Vec<f64>,
    request: Allocated,
    whole: Allocated,
}

/// Runs one batch. It is not inlined, so that benches/instructions.sh can count its instructions.
#[inline(never)]
pub fn measured(batch: &mut dyn crate::subject::Batch) {
    batch.run();
    // Keeps the call above from being optimized into a jump.
    std::hint::black_box(());
}

fn time(subject: &dyn Subject, op: Op, n: usize) -> f64 {
    let mut batch = subject.batch(op, n);
    let start = Instant::now();
    measured(&mut *batch);
    start.elapsed().as_nanos() as f64 / n as f64
}

/// Returns the allocations of a typical operation: the median of many operations. The occasional growth of a table does
/// not count.
fn allocations(subject: &dyn Subject, op: Op, n: usize) -> [Allocated; 2] {
    let middle = |build: bool| {
        let mut counts: Vec<Allocated> = (0..n)
            .map(|_| {
                let mut batch = subject.batch(op, 1);
                count(|| if build { batch.build() } else { measured(&mut *batch) })
            })
            .collect();
        counts.sort_unstable();
        counts[n / 2]
    };
    [middle(true), middle(false)]
}

/// Returns the value below which this share of the values lies.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the median of the ratios of all rounds.
fn ratio(one: &Measured, other: &Measured) -> f64 {
    let ratios: Vec<f64> = one.nanoseconds.iter().zip(&other.nanoseconds).map(|(one, other)| one / other).collect();
    median(&ratios)
}

/// Measures an operation and prints its table. The first entry is the one to compare with, and the last is the floor.
pub fn compare(op: Op, entries: &[Entry<'_>], extent: Extent) {
    let Extent { rounds, operations, counted } = extent;
    let mut times = vec![Vec::with_capacity(rounds); entries.len()];
    for entry in entries {
        time(&*entry.subject, op, operations.min(2 * counted));
    }
    for round in 0..rounds {
        for turn in 0..entries.len() {
            let number = (turn + round) % entries.len();
            times[number].push(time(&*entries[number].subject, op, operations));
        }
    }
    let all: Vec<Measured> = entries
        .iter()
        .zip(times)
        .map(|(entry, nanoseconds)| {
            let [request, whole] = allocations(&*entry.subject, op, counted);
            Measured { nanoseconds, request, whole }
        })
        .collect();
    print(op, entries, &all);
}

fn print(op: Op, entries: &[Entry<'_>], all: &[Measured]) {
    let (ours, floor) = (&all[0], &all[all.len() - 1]);
    let mut table = format!("\n### {}: {}\n\n", op.name(), op.title());
    table.push_str("| subject | ns/op | p10..p90 | allocations | bytes | of the floor | grantor typed is |\n");
    table.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for (entry, measured) in entries.iter().zip(all) {
        let Measured { nanoseconds, request, whole } = measured;
        let speed =
            if std::ptr::eq(measured, ours) { "–".into() } else { format!("{:.2}x as fast", ratio(measured, ours)) };
        let _ = writeln!(
            table,
            "| {} | {:.0} | {:.0}..{:.0} | {} ({} + {}) | {} | {:.2}x | {speed} |",
            entry.name,
            median(nanoseconds),
            quantile(nanoseconds, 0.1),
            quantile(nanoseconds, 0.9),
            whole.count,
            whole.count.saturating_sub(request.count),
            request.count,
            whole.bytes,
            ratio(measured, floor),
        );
    }
    print!("{table}");
}
