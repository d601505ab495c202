#!/usr/bin/env python3
"""What a flood of forged tokens does to everybody else: the time that requests with good, remembered tokens take.

    benches/pgo/build && python3 benches/compare/flood.py

500 good requests a second come on 16 connections, as paced.py sends them, and beside them 2,000 with forged tokens, none seen
before: in one run to siwa-proxy, and in the run before it, which is the quiet one, to the application itself, so that the
load's own core is as busy in both. The runs alternate; what is told are the medians. Needs what compare.py needs.
"""

import argparse, multiprocessing, os, statistics, sys

import lab
from paced import load, percentile


def flood(port, tokens, rate, seconds):
    """The load, in a process of its own."""
    process = multiprocessing.Process(target=load, args=(port, tokens, rate, seconds))
    process.start()
    return process


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", type=lab.existing, default=str(lab.RELEASED))
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=5, help="of each run")
    arguments.add_argument("--good", type=int, default=500, help="a second")
    arguments.add_argument("--forged", type=int, default=2000, help="a second")
    options = arguments.parse_args()
    binary = options.binary
    os.sched_setaffinity(0, {int(lab.LOAD_CORE)})

    simulator, application = lab.simulator(binary), lab.application()
    good = lab.mint(simulator, 100)
    forged = [lab.with_wrong_signature(good[0]) for _ in range(20_000)]
    ours = lab.siwa_proxy("siwa-proxy", binary, simulator, application).wait_until_it_answers(200, good[0])
    load(ours.port, good, options.good, 1)

    told = {"quiet": [], "flooded": []}
    for run in range(options.runs):
        print(f"run {run + 1} of {options.runs}", file=sys.stderr)
        for case, target in (("quiet", application.port), ("flooded", ours.port)):
            beside = flood(target, forged, options.forged, options.seconds + 0.5)
            took = load(ours.port, good, options.good, options.seconds)
            beside.join()
            told[case].append([percentile(took, share) for share in (0.5, 0.99)])
    print("| requests with a good token | half within | 99 in 100 within |")
    print("|---|---|---|")
    medians = {case: [statistics.median(column) for column in zip(*runs)] for case, runs in told.items()}
    for case, (half, most) in medians.items():
        print(f"| {case} | {half:.2f} ms | {most:.2f} ms |")
    print(f"\nWith {options.forged} forged tokens a second: {medians['flooded'][1] / medians['quiet'][1]:.2f} × the quiet 99 in 100.")


if __name__ == "__main__":
    lab.in_a_folder(main)
