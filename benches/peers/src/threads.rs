//! The throughput of two threads with distinct tokens, relative to one thread, for grantor and for the floor.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::floor_subject;
use crate::ours::Typed;
use crate::rounds::{Extent, measured, median};
use crate::subject::{Batch, Op, Subject, World, batch};

const MANY: usize = 1_000;

/// Returns the time from the first start to the last end of all threads.
///
/// Each thread prepares its own batch. If one thread prepared all batches, each free would wait for that thread's
/// allocator arena (refresh: a factor of 1.2 instead of 1.8). Each thread is pinned to a processor, because a batch is
/// too short for the system to move a thread.
fn together(subject: &dyn Subject, op: Op, n: usize, threads: usize) -> Duration {
    let barrier = Barrier::new(threads);
    let processors = core_affinity::get_core_ids().unwrap_or_default();
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let threads: Vec<_> = (0..threads)
            .map(|number| {
                let processor = processors.get(number).copied();
                scope.spawn(move || {
                    processor.map(core_affinity::set_for_current);
                    let mut batch = subject.batch(op, n);
                    barrier.wait();
                    let start = Instant::now();
                    measured(&mut *batch);
                    (start, Instant::now())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let start = spans.iter().map(|(start, _)| *start).min().expect("a thread");
    spans.iter().map(|(_, end)| *end).max().expect("a thread") - start
}

/// Returns the throughput of two threads relative to one. Both variants do the same amount of work and start in turn,
/// so that the growth of tables affects both alike.
fn scaling(subject: &dyn Subject, op: Op, n: usize, round: usize) -> f64 {
    let one = || together(subject, op, 2 * n, 1).as_secs_f64();
    let two = || together(subject, op, n, 2).as_secs_f64();
    if round.is_multiple_of(2) {
        let one = one();
        one / two()
    } else {
        let two = two();
        one() / two
    }
}

/// Work without shared data, which shows the limit of the machine at this moment.
struct Alone;

impl Subject for Alone {
    fn batch(&self, _: Op, n: usize) -> Box<dyn Batch + Send + '_> {
        let hash_again = |hash: &mut [u8; 32]| (0..32).for_each(|_| *hash = Sha256::digest(*hash).into());
        batch(vec![[0; 32]; n], |_| {}, hash_again)
    }
}

pub fn compare(ops: &[Op], extent: Extent) {
    println!("\n## Two threads against one\n");
    println!(
        "The throughput relative to one thread, and its share of the floor's value in the same round. If the machine has no \
         two free processors (column `machine`: hashing without shared data), the other columns show nothing.\n"
    );
    println!(
        "| operation | machine | floor | grantor, 1 client | of the floor | grantor, {MANY} clients | of the floor |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let (single, many) = (World::new(1), World::new(MANY));
    for &op in ops {
        let floors: [Box<dyn Subject + '_>; 2] =
            [Box::new(floor_subject::Measured::new(&single)), Box::new(floor_subject::Measured::new(&many))];
        let ours: [Box<dyn Subject + '_>; 2] = [Box::new(Typed::new(&single)), Box::new(Typed::new(&many))];
        let mut found = [const { Vec::new() }; 6];
        for round in 0..extent.rounds {
            let scaling = |subject: &dyn Subject| scaling(subject, op, extent.operations, round);
            let machine = scaling(&Alone);
            let floor = floors.each_ref().map(|floor| scaling(&**floor));
            let ours = ours.each_ref().map(|ours| scaling(&**ours));
            let figures = [machine, floor[0], ours[0], ours[0] / floor[0], ours[1], ours[1] / floor[1]];
            found.iter_mut().zip(figures).for_each(|(found, figure)| found.push(figure));
        }
        let [machine, floor, one, of_floor, many, many_of_floor] = found.map(|found| median(&found));
        println!(
            "| {} | {machine:.2}x | {floor:.2}x | {one:.2}x | {of_floor:.2} | {many:.2}x | {many_of_floor:.2} |",
            op.name()
        );
    }
}
