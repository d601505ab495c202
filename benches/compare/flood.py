#!/usr/bin/env python3
"""What a flood of forged tokens does to everybody else: the time that requests with good, remembered tokens take.

    cargo build --release && python3 benches/compare/flood.py

500 good requests a second come on 16 connections, each when it is due, whether or not the one before was answered in time;
and the time that one took counts from when it was due. Beside them come 2,000 a second with forged tokens, none seen before:
in one run to siwa-proxy, and in the run before it, which is the quiet one, to the application itself, so that the load's own
core is as busy in both. The runs alternate; what is told are the medians. Needs what compare.py needs.
"""

import argparse, multiprocessing, os, selectors, socket, statistics, sys, time
from pathlib import Path

import lab

CONNECTIONS = 16


def request(token):
    return f"GET / HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def is_whole(answer):
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return body.endswith(b"0\r\n\r\n")


class Caller:
    """One connection, on which a request is due every `period` seconds."""

    def __init__(self, port, first, period):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due, self.period, self.asked, self.answer = first, period, None, b""

    def ask(self, now, what):
        if self.asked is None and now >= self.due:
            self.asked, self.due = self.due, self.due + self.period
            self.socket.sendall(what)
            return True
        return False

    def hear(self):
        """How long the answer took, once it is whole."""
        heard = self.socket.recv(65536)
        if not heard:
            sys.exit("a connection was closed")
        self.answer += heard
        if not is_whole(self.answer):
            return None
        took, self.asked, self.answer = time.perf_counter() - self.asked, None, b""
        return took


def load(port, tokens, rate, seconds):
    """Sends `rate` requests a second and returns how long each took, in milliseconds."""
    requests, number, took = [request(token) for token in tokens], 0, []
    start = time.perf_counter() + 0.1
    period = CONNECTIONS / rate
    callers = [Caller(port, start + place / rate, period) for place in range(CONNECTIONS)]
    with selectors.DefaultSelector() as selector:
        for caller in callers:
            selector.register(caller.socket, selectors.EVENT_READ, caller)
        while (now := time.perf_counter()) < start + seconds:
            for caller in callers:
                number += caller.ask(now, requests[number % len(requests)])
            next_due = min((caller.due for caller in callers if caller.asked is None), default=now + 1)
            for key, _ in selector.select(max(0, next_due - time.perf_counter())):
                if (time_taken := key.data.hear()) is not None:
                    took.append(time_taken * 1000)
    return took


def flood(port, tokens, rate, seconds):
    """The same, in a process of its own."""
    process = multiprocessing.Process(target=load, args=(port, tokens, rate, seconds))
    process.start()
    return process


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/siwa-proxy")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=5, help="of each run")
    arguments.add_argument("--good", type=int, default=500, help="a second")
    arguments.add_argument("--forged", type=int, default=2000, help="a second")
    options = arguments.parse_args()
    binary = str(Path(options.binary).resolve())
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
