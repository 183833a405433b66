//! Times of the core: `make bench-core ARGS=--quick`. Times are noisy; what is held to a bound is the
//! number of instructions, see `counts.rs`.

mod work;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for mut work in work::all() {
        criterion.bench_function(&work.name, |bencher| bencher.iter(|| (work.run)()));
    }
    criterion.final_summary();
}
