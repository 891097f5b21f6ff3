//! Each hot path in its typed and its HTTP form, on one thread and on two: `cargo bench`.
//!
//! An operation is measured from the request being put together to the answer being dropped; what it needs, such as the code
//! to be redeemed, is made before. On two threads the time is that of both together for one operation, so half of that on
//! one thread is the best there is. How this compares with others is measured in `benches/peers`, from which the operations
//! come.

#[path = "peers/src/ours.rs"]
#[allow(clippy::pedantic, unreachable_pub, reason = "it is a program's own")]
mod ours;
#[path = "peers/src/subject.rs"]
#[allow(dead_code, clippy::pedantic, unreachable_pub, reason = "it is a program's own")]
mod subject;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};

use crate::ours::{Http, Typed};
use crate::subject::{Op, Subject, World};

/// How many operations are prepared at once: enough that the starting of threads does not count.
const AT_ONCE: u64 = 4_000;

/// Does that many operations on so many threads, a batch at a time; the clock runs while all of them are at it.
fn time(subject: &dyn Subject, op: Op, operations: u64, threads: u64) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = operations;
    while left > 0 {
        let of_each = left.min(AT_ONCE).div_ceil(threads);
        total += batch(subject, op, of_each, threads);
        left -= left.min(of_each * threads);
    }
    total
}

fn batch(subject: &dyn Subject, op: Op, of_each: u64, threads: u64) -> Duration {
    let n = usize::try_from(of_each).unwrap_or(usize::MAX);
    let batches: Vec<_> = (0..threads).map(|_| subject.batch(op, n)).collect();
    let barrier = Barrier::new(batches.len());
    thread::scope(|scope| {
        let at_work = batches.into_iter().map(|mut batch| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                batch.run();
                (start, Instant::now())
            })
        });
        let at_work: Vec<_> = at_work.collect();
        let spans: Vec<_> = at_work.into_iter().map(|thread| thread.join().expect("no thread panics")).collect();
        let start = spans.iter().map(|(start, _)| *start).min();
        let end = spans.iter().map(|(_, end)| *end).max();
        end.zip(start).map_or(Duration::ZERO, |(end, start)| end - start)
    })
}

fn hot_paths(criterion: &mut Criterion) {
    let world = World::new(1);
    for op in Op::ALL {
        let mut group = criterion.benchmark_group(op.name());
        let forms: [(&str, Box<dyn Subject + '_>); 2] =
            [("typed", Box::new(Typed::new(&world))), ("http", Box::new(Http::new(&world)))];
        for (form, subject) in &forms {
            for (threads, on) in [(1, "one thread"), (2, "two threads")] {
                group.bench_function(format!("{form}, {on}"), |bencher| {
                    bencher.iter_custom(|operations| time(&**subject, op, operations, threads));
                });
            }
        }
    }
}

fn configured() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

criterion_group!(name = benches; config = configured(); targets = hot_paths);
criterion_main!(benches);
