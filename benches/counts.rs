//! The work of `work/`, for a tool that counts instructions: `tests/counts` runs it under callgrind.
//! A name for each work goes to standard output, in the order in which `counted` is called.

mod work;

/// A stable name to count inside of.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
}

fn main() {
    for mut work in work::all() {
        // What is made once (tables of the checksum, capacities) is no part of it.
        (work.run)();
        counted(&mut work.run);
        println!("{}", work.name);
    }
}
