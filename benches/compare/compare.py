#!/usr/bin/env python3
"""What a request costs: siwa-proxy, which verifies it, beside nginx, which only forwards it.

    cargo build --release && python3 benches/compare/compare.py

Needs nginx and wrk (Debian: apt-get install nginx-light wrk) and two cores; takes about three minutes. No network and no
Apple account: the keys and the tokens are those of `siwa-proxy sim`.

What is compared is CPU time for each request (user and system, of every thread of the peer), which holds on a busy machine
where requests per second do not. The peers run on one core, the load and the application on another. The rounds are
interleaved, so that what disturbs one peer disturbs its neighbour too; a table shows the best round of each.
"""

import argparse, base64, http.client, json, os, random, shutil, signal, socket, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER_CORE, LOAD_CORE = "0", "1"
CLIENT_ID = "com.example.app"

CASES = {
    "hot": "one good token, again and again",
    "k1000": "1,000 good tokens in turn",
    "distinct": "a good token that was never seen before",
    "bad_signature": "tokens whose signature is wrong, none seen before",
    "garbage": "900 characters that are no token",
    "none": "no token",
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Running:
    """A program on one core, ended with this process."""

    everything = []

    def __init__(self, name, port, command):
        self.name, self.port = name, port
        self.log = open(DIR / f"{name}.out", "w")
        self.process = subprocess.Popen(["taskset", "-c", *command], stdout=self.log, stderr=self.log)
        Running.everything.append(self)

    def wait_until_it_answers(self, wanted, token=None):
        for _ in range(500):
            if status_of(self.port, token) == wanted:
                return self
            time.sleep(0.02)
        sys.exit(f"{self.name} does not answer {wanted}; see {self.log.name}")

    def cpu_seconds(self):
        """Of all threads of the process and its children, by the scheduler's own count."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident_mebibytes(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status_of(port, token):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    except OSError:
        return None


def filled_in(template, **values):
    text = (HERE / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", str(value))
    path = DIR / f"{values['name']}.conf"
    path.write_text(text)
    return path


def nginx(name, core, template, port, **values):
    conf = filled_in(template, dir=DIR, name=name, port=port, **values)
    return Running(name, port, [core, "nginx", "-p", str(DIR), "-e", f"{DIR}/{name}.log", "-c", str(conf)])


def siwa_proxy(name, binary, keys, upstream, *more):
    port = free_port()
    command = [SERVER_CORE, binary, "serve", "--listen", f"127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0"]
    command += ["--upstream", f"http://127.0.0.1:{upstream}", "--client-id", CLIENT_ID, "--jwks-url", keys, *more]
    return Running(name, port, command)


def mint(simulator, count):
    """`count` tokens of as many people."""
    connection = http.client.HTTPConnection("127.0.0.1", simulator)
    tokens = []
    for number in range(count):
        claims = {"aud": CLIENT_ID, "sub": f"{number:06}.0123456789abcdef0123456789abcdef.0042"}
        connection.request("POST", "/sim/token", json.dumps({"claims": claims}))
        tokens.append(json.load(connection.getresponse())["identity_token"])
    return tokens


def with_wrong_signature(token):
    signed, _ = token.rsplit(".", 1)
    return signed + "." + base64.urlsafe_b64encode(random.randbytes(256)).decode().rstrip("=")


def write_tokens(simulator, distinct):
    tokens = mint(simulator, distinct)
    files = {
        "hot": tokens[:1],
        "k1000": tokens[:1000],
        "distinct": tokens,
        "bad_signature": [with_wrong_signature(token) for token in tokens],
        "garbage": ["x" * 900],
        "none": [],
    }
    for name, lines in files.items():
        (DIR / name).write_text("".join(line + "\n" for line in lines))
    return tokens[0]


def measure(peer, case, seconds, connections):
    """Microseconds of CPU for each request, and the share of answers that were refusals."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(HERE / "rotate.lua"), f"http://127.0.0.1:{peer.port}/", "--", str(DIR / case)]
    before = peer.cpu_seconds()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = peer.cpu_seconds() - before
    requests, refused, _p99 = map(int, output.rsplit("DONE ", 1)[1].split())
    return spent / requests * 1e6, refused / requests


def check(peer, case, refused):
    wanted = 0.0 if peer.name == "nginx" or case in ("hot", "k1000", "distinct") else 1.0
    if abs(refused - wanted) > 0.01:
        sys.exit(f"{peer.name}, {case}: {refused:.0%} of the requests were refused, not {wanted:.0%}")


def show(peers, best):
    print("| CPU time for each request | " + " | ".join(peer.name for peer in peers) + " |")
    print("|---|" + "---|" * len(peers))
    for case, meaning in CASES.items():
        floor = best[peers[0].name, case]
        cells = [f"{best[peer.name, case]:.1f} µs ({best[peer.name, case] / floor:.2f} ×)" for peer in peers]
        print(f"| {meaning} | " + " | ".join(cells) + " |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/siwa-proxy")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=2, help="of load for each cell")
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--distinct", type=int, default=20_000, help="tokens; more than the verdict cache is told to hold")
    arguments.add_argument("--access-log", action="store_true", help="with the access log on, as it is by default")
    options = arguments.parse_args()
    missing = [name for name in ("nginx", "wrk", "taskset") if not shutil.which(name)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    binary = str(Path(options.binary).resolve())

    simulator = free_port()
    Running("simulator", simulator, [LOAD_CORE, binary, "sim", "--listen", f"127.0.0.1:{simulator}"]).wait_until_it_answers(200)
    print(f"minting {options.distinct} tokens", file=sys.stderr)
    token = write_tokens(simulator, options.distinct)

    application = nginx("application", LOAD_CORE, "application.conf", free_port()).wait_until_it_answers(200)
    plain = nginx("nginx", SERVER_CORE, "nginx.conf", free_port(), upstream=application.port).wait_until_it_answers(200)
    log = [] if options.access_log else ["--log", "info,access=off"]
    # Fewer verdicts than there are tokens, so that in the case `distinct` no token is found again.
    os.environ["SIWA_VERDICTS__CAPACITY"] = "1500"
    keys = f"http://127.0.0.1:{simulator}/auth/keys"
    ours = siwa_proxy("siwa-proxy", binary, keys, application.port, *log).wait_until_it_answers(200, token)
    idle = ours.resident_mebibytes()

    peers, best = [plain, ours], {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for case in CASES:
            for peer in peers:
                cost, refused = measure(peer, case, options.seconds, options.connections)
                check(peer, case, refused)
                best[peer.name, case] = min(cost, best.get((peer.name, case), cost))
    show(peers, best)
    print(f"\nsiwa-proxy's memory: {idle:.0f} MiB at rest, {ours.resident_mebibytes():.0f} MiB after all this.")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        DIR = Path(place)
        DIR.chmod(0o755)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            main()
        finally:
            for running in Running.everything:
                running.process.terminate()
            for running in Running.everything:
                running.process.wait()
