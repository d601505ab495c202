"""What the scripts beside this one and in benches/pgo share: programs on chosen cores and their cost, tokens, load.

No network and no Apple account: the keys and the tokens are those of `siwa-proxy sim`.
"""

import argparse, base64, http.client, json, os, random, re, shutil, signal, socket, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER_CORE, LOAD_CORE = "0", "1"
# What benches/pgo/build makes.
RELEASED = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target")) / "pgo/siwa-proxy"
CLIENT_ID, ISSUER = "com.example.app", "https://appleid.apple.com"
# nginx is there, where not everybody looks.
os.environ["PATH"] += ":/usr/sbin"
# Where everything is written; gone at the end.
PLACE = None


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Running:
    """A program on `cores`, ended with this process."""

    everything = []

    def __init__(self, name, port, command, cores=SERVER_CORE, environment=()):
        self.name, self.port, self.http2_port = name, port, port
        self.helpers, self.instead, self.verifies = [], {}, True
        self.log = open(PLACE / f"{name.replace(' ', '-')}.out", "w")
        # Nobody's settings but ours: what a shell has of siwa-proxy's is for another one.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIWA_", "OTEL_"))}
        settings = {"env": {**inherited, **dict(environment)}, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen(["taskset", "-c", cores, *map(str, command)], **settings)
        Running.everything.append(self)

    def with_help_of(self, *others):
        """Counts what `others` spend as this one's own."""
        self.helpers = others
        return self

    def verifying_nothing(self):
        self.verifies = False
        return self

    def replaced_in(self, case, other):
        """Lets `other` be measured in `case`."""
        self.instead[case] = other
        return self

    def wait_until_it_answers(self, wanted, token=None):
        return self.wait_until(lambda: status_of(self.port, token) == wanted, f"answer {wanted}")

    def wait_until_it_logs(self, text):
        return self.wait_until(lambda: text in Path(self.log.name).read_text(), f"log {text}")

    def wait_until(self, it_does, what):
        """For a minute at least: under valgrind everything takes long."""
        for _ in range(12_000):
            if it_does():
                return self
            time.sleep(0.005)
        sys.exit(f"{self.name} does not {what}; see {Path(self.log.name).read_text()[-2000:]}")

    def cpu_seconds(self):
        """Of all threads of the process and its children, by the scheduler's own count."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9 + sum(helper.cpu_seconds() for helper in self.helpers)

    def resident_mebibytes(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def end(self):
        self.process.terminate()
        if (code := self.process.wait(timeout=60)) != 0:
            sys.exit(f"{self.name} ended with exit code {code}; see {Path(self.log.name).read_text()[-2000:]}")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status_of(port, token=None):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")


# === Programs ===


def existing(path):
    """The siwa-proxy that is to be measured."""
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"there is no {path}: benches/pgo/build makes it; --binary names another")
    return str(Path(path).resolve())


def filled_in(template, name, **values):
    """The configuration `template`, with a value for each @NAME@ in it."""
    text = (HERE / template).read_text()
    for key, value in {"name": name.replace(" ", "-"), "dir": PLACE, **values}.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    path = PLACE / f"{name.replace(' ', '-')}{Path(template).suffix}"
    path.write_text(text)
    return path


def nginx(name, template, core=SERVER_CORE, **values):
    port, http2_port = free_port(), free_port()
    configuration = filled_in(template, name, port=port, http2_port=http2_port, **values)
    running = Running(name, port, ["nginx", "-p", PLACE, "-e", "stderr", "-c", configuration], core)
    running.http2_port = http2_port
    return running


def envoy(name, template, **values):
    port = free_port()
    configuration = filled_in(template, name, port=port, **values)
    flags = ["--concurrency", 1, "--disable-hot-restart", "--log-level", "error"]
    return Running(name, port, ["envoy", *flags, "-c", configuration])


def application():
    """The application behind everybody, beside the load. At /large there is 1 MiB."""
    (PLACE / "large").write_bytes(bytes(1 << 20))
    return nginx("application", "application.conf", LOAD_CORE).wait_until_it_answers(200)


def simulator(binary):
    port = free_port()
    command = [binary, "sim", "--listen", f"127.0.0.1:{port}"]
    return Running("simulator", port, command, LOAD_CORE).wait_until_it_answers(200)


def siwa_proxy(name, binary, simulator, upstream=None, cores=SERVER_CORE, log=False, under=(), **environment):
    """With `upstream` it forwards to there; without, it is only asked. `under` is a tool that runs it."""
    port = free_port()
    command = [*under, binary, "serve", "--listen", f"127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0", "--client-id", CLIENT_ID]
    command += ["--jwks-url", f"http://127.0.0.1:{simulator.port}/auth/keys"]
    command += ["--upstream", f"http://127.0.0.1:{upstream.port}"] if upstream else []
    command += [] if log else ["--log", "info,access=off"]
    return Running(name, port, command, cores, environment.items())


def end_everything():
    for running in Running.everything:
        running.process.terminate()
    for running in Running.everything:
        running.process.wait()


def in_a_folder(main):
    """Runs `main` with a folder to write to, and ends what it started."""
    global PLACE
    with tempfile.TemporaryDirectory() as place:
        PLACE = Path(place)
        PLACE.chmod(0o755)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            main()
        finally:
            end_everything()


# === Tokens ===


def mint(simulator, count):
    """`count` tokens of as many people."""
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port)
    tokens = []
    for number in range(count):
        claims = {"aud": CLIENT_ID, "sub": f"{number:06}.0123456789abcdef0123456789abcdef.0042"}
        connection.request("POST", "/sim/token", json.dumps({"claims": claims}))
        tokens.append(json.load(connection.getresponse())["identity_token"])
    return tokens


def keys_of(simulator):
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port)
    connection.request("GET", "/auth/keys")
    return connection.getresponse().read().decode()


def encoded(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def with_wrong_signature(token):
    signed, _ = token.rsplit(".", 1)
    return f"{signed}.{encoded(random.randbytes(256))}"


def with_unknown_key(token):
    _, rest = token.split(".", 1)
    header = {"kid": random.randbytes(5).hex(), "alg": "RS256"}
    return f"{encoded(json.dumps(header).encode())}.{rest}"


def write_tokens(tokens):
    """A file for each kind of token, for wrk."""
    files = {
        "hot": tokens[:1],
        "thousand": tokens[:1000],
        "ten_thousand": tokens[:10_000],
        "distinct": tokens,
        "bad_signature": [with_wrong_signature(token) for token in tokens],
        "unknown_key": [with_unknown_key(token) for token in tokens],
        "garbage": ["x" * 900],
        "none": [],
    }
    for name, lines in files.items():
        (PLACE / name).write_text("".join(line + "\n" for line in lines))


# === Load ===


def wrk(port, tokens, seconds, connections, path="/", upload=0):
    """Requests with a token of the file `tokens` each, in turn: how many were answered, and how many of them refused."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["-s", HERE / "rotate.lua", f"http://127.0.0.1:{port}/", "--", PLACE / tokens, path, upload]
    output = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    requests, refused = output.rsplit("DONE ", 1)[1].split()
    return int(requests), int(refused)


def h2load(port, token, seconds, connections, path="/", flags=(), scheme="http"):
    """The same with one token over HTTP/2, ten requests at a time on each connection."""
    command = ["taskset", "-c", LOAD_CORE, "h2load", "-t1", f"-c{connections}", "-m10", f"-D{seconds}"]
    command += ["-H", f"Authorization: Bearer {token}", *map(str, flags), f"{scheme}://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    good, moved, bad, worse = map(int, re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output).groups())
    return good + moved + bad + worse, moved + bad + worse
