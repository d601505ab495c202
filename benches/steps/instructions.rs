//! How many instructions each step takes; `benches/steps/gate` holds them against those that are written down.

use std::{hint::black_box, sync::Arc};

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::HeaderMap;
use siwa_proxy::{
    Identity,
    measured::{Rebuilding, Routing},
};
use siwa_proxy_steps::{
    Judge, browser_request, judge_of_the_unsigned, judge_who_forgets, judge_who_remembers, routes,
};

#[library_benchmark]
#[bench::hot(setup = judge_who_remembers)]
#[bench::cold(setup = judge_who_forgets)]
#[bench::key(setup = judge_of_the_unsigned)]
fn verify((judge, token): (Judge, String)) -> (Judge, bool) {
    let is_good = judge.judge(black_box(&token)).is_ok();
    (judge, is_good)
}

#[library_benchmark]
#[bench::browser(setup = browser_request)]
fn rewrite(
    (rebuilding, headers, identity): (Rebuilding, HeaderMap, Arc<Identity>),
) -> (Rebuilding, Arc<Identity>, bool) {
    let is_rebuilt = rebuilding.run(black_box(headers), &identity);
    (rebuilding, identity, is_rebuilt)
}

#[library_benchmark]
#[bench::one(args = (1), setup = routes)]
#[bench::hundred(args = (100), setup = routes)]
fn route((routing, path): (Routing, String)) -> (Routing, bool) {
    let is_found = routing.run(black_box(&path));
    (routing, is_found)
}

library_benchmark_group!(name = steps, benchmarks = [verify, rewrite, route]);
main!(library_benchmark_groups = steps);
