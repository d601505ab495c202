//! How long each step takes: `cargo bench --manifest-path benches/steps/Cargo.toml --bench time`.

use divan::{Bencher, black_box};
use siwa_proxy_steps::{
    browser_request, judge_of_the_unsigned, judge_who_forgets, judge_who_remembers, routes,
};

fn main() {
    divan::main();
}

/// A token that was judged before.
#[divan::bench]
fn verify_hot(bencher: Bencher<'_, '_>) {
    let (judge, token) = judge_who_remembers();
    bencher.bench_local(|| judge.judge(black_box(&token)));
}

/// A token that was not.
#[divan::bench]
fn verify_cold(bencher: Bencher<'_, '_>) {
    let (judge, token) = judge_who_forgets();
    bencher.bench_local(|| judge.judge(black_box(&token)));
}

/// Its header read, its key found, and no signature to check.
#[divan::bench]
fn find_key(bencher: Bencher<'_, '_>) {
    let (judge, token) = judge_of_the_unsigned();
    bencher.bench_local(|| judge.judge(black_box(&token)));
}

/// The headers of a page's request, rewritten for the application.
#[divan::bench]
fn rewrite_headers(bencher: Bencher<'_, '_>) {
    let (rebuilding, headers, identity) = browser_request();
    bencher
        .with_inputs(|| headers.clone())
        .bench_local_values(|headers| rebuilding.run(headers, &identity));
}

#[divan::bench(args = [1, 10, 100])]
fn find_route(bencher: Bencher<'_, '_>, count: usize) {
    let (routing, path) = routes(count);
    bencher.bench_local(|| routing.run(black_box(&path)));
}
