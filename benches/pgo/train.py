#!/usr/bin/env python3
"""The training workload of profile-guided optimization: what an instrumented build is to count.

    benches/pgo/train.py PROGRAM DIRECTORY    # the counts are in DIRECTORY then, a file for each process

Most of it verifies a token and forwards the request, over HTTP/1.1 and HTTP/2, or refuses to; the rest is TLS on both sides,
new connections, gateways that ask, sign-ins and sessions. Code that nothing here reaches is made small instead of fast. Needs
what compare.py needs, h2load, curl and openssl.
"""

import functools, http.client, json, socket, ssl, subprocess, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))
import lab

# People, each with a token.
PEOPLE = 6_000


def load(ours, kind, connections=64, seconds=1, refused=False, **more):
    """Requests with tokens of `kind`, which have to be answered as they should be."""
    answered, not_answered = lab.wrk(ours.port, kind, seconds, connections, **more)
    check(ours, kind, answered, answered - not_answered if refused else not_answered)


def load_http2(ours, token, connections=16, seconds=1, **more):
    check(ours, "HTTP/2", *lab.h2load(ours.port, token, seconds, connections, **more))


def check(ours, what, requests, otherwise):
    """Who trains the wrong path is to hear of it."""
    if requests < 10 or otherwise > requests / 100:
        sys.exit(f"{ours.name}, {what}: {otherwise} of {requests} requests were answered otherwise than they should be")


def proxy(start, application, tokens, cores=lab.SERVER_CORE):
    """Good and bad tokens, HTTP/2, large bodies both ways, new connections."""
    ours = start(f"proxy on {cores}", upstream=application, cores=cores).wait_until_it_answers(200, tokens[0])
    load(ours, "hot", seconds=4)
    load(ours, "thousand", seconds=2)
    for kind in ("bad_signature", "unknown_key", "garbage", "none"):
        load(ours, kind, refused=True)
    load_http2(ours, tokens[0], seconds=3)
    load(ours, "hot", connections=16, path="/large")
    load(ours, "hot", connections=16, upload=1 << 20)
    # Each on a connection of its own.
    for _ in range(1000):
        lab.status_of(ours.port, tokens[0])
    ours.end()


def proxy_on_two_cores(start, application, tokens):
    """With two worker threads, between which the scheduler moves the work."""
    proxy(start, application, tokens, f"{lab.SERVER_CORE},{lab.LOAD_CORE}")


def log(start, application, tokens):
    """The access log, which is on by default, in both formats."""
    for log_format in ("text", "json"):
        ours = start(f"log in {log_format}", upstream=application, log=True, SIWA_LOG__FORMAT=log_format)
        ours.wait_until_it_answers(200, tokens[0])
        load(ours, "hot")
        load(ours, "bad_signature", refused=True)
        ours.end()


def evict(start, application, tokens):
    """Good tokens that were not seen before, and in a full cache verdicts that make room for those that come again."""
    # Fewer than the people, and enough for the doorkeeper to know them again.
    ours = start("evict", upstream=application, SIWA_VERDICTS__CAPACITY="4000").wait_until_it_answers(200, tokens[0])
    load(ours, "distinct", seconds=4)
    ours.end()


def encrypt(start, application, tokens):
    """TLS and HTTP/2 in both directions: one proxy in front of another."""
    chain, key = certificate()
    inner = start("encrypt", upstream=application, SIWA_TLS__CERTIFICATE=chain, SIWA_TLS__KEY=key)
    trusting = {"SIWA_UPSTREAM__CA_FILE": chain, "SIWA_UPSTREAM__FORWARD_CREDENTIAL": "true"}
    for protocol in ("http1", "h2"):
        upstream = {"SIWA_UPSTREAM__URL": f"https://127.0.0.1:{inner.port}", "SIWA_UPSTREAM__PROTOCOL": protocol}
        outer = start(f"encrypt to {protocol}", **trusting, **upstream).wait_until_it_answers(200, tokens[0])
        load(outer, "hot", connections=16, path="/large")
        # The last, as its many connections end at once in the midst of requests, and so does the one that carries all of them.
        load(outer, "hot")
        outer.end()
    load_http2(inner, tokens[0], scheme="https")
    unverified = ssl._create_unverified_context()
    for _ in range(300):
        connection = http.client.HTTPSConnection("127.0.0.1", inner.port, context=unverified)
        connection.request("GET", "/", headers={"Authorization": f"Bearer {tokens[0]}"})
        if connection.getresponse().status != 200:
            sys.exit("a request over TLS is refused")
        connection.close()
    inner.end()


def certificate():
    """One that vouches for itself, and its key."""
    chain, key = lab.PLACE / "chain.pem", lab.PLACE / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-keyout", key, "-out", chain]
    command += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return str(chain), str(key)


def answer_gateways(start, application, tokens):
    """nginx's `auth_request`, and Envoy's `ext_authz` by gRPC."""
    ours = start("answer gateways").wait_until_it_answers(404, tokens[0])
    nginx = lab.nginx("nginx", "auth_request.conf", asked=ours.port, upstream=application.port)
    load(nginx.wait_until_it_answers(200, tokens[0]), "hot")
    (lab.PLACE / "check").write_bytes(check_request(tokens[0]))
    path, headers = "/envoy.service.auth.v3.Authorization/Check", ["-H", "Content-Type: application/grpc", "-H", "TE: trailers"]
    command = ["curl", "--silent", "--http2-prior-knowledge", "--data-binary", f"@{lab.PLACE}/check", *headers]
    # By gRPC a refusal is 200, too.
    if b"x-apple-sub" not in subprocess.check_output([*command, f"http://127.0.0.1:{ours.port}{path}"]):
        sys.exit("Envoy is not told who calls")
    load_http2(ours, tokens[0], path=path, flags=["-d", lab.PLACE / "check", *headers])
    nginx.end()
    ours.end()


def check_request(token):
    """`envoy.service.auth.v3.CheckRequest` in a gRPC frame."""

    def field(number, value):
        value = value.encode() if isinstance(value, str) else value
        length = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128, len(value) >> 7])
        return bytes([number << 3 | 2]) + length + value

    header = field(3, field(1, "authorization") + field(2, f"Bearer {token}"))
    request = field(2, "GET") + header + field(4, "/") + field(5, "app.example") + field(6, "http")
    message = field(1, field(4, field(2, request)))
    return b"\0" + len(message).to_bytes(4, "big") + message


def refuse(start, application, tokens):
    """What is no request, or too large a one: it is to cost little, whoever sends it."""
    ours = start("refuse", upstream=application, SIWA_LIMITS__RATE_PER_SECOND="100").wait_until_it_answers(200, tokens[0])
    end = "Host: app.example\r\n\r\n"
    requests = {
        400: ["GET / HTTP/1.1\r\n\r\n", "\0" * 99],
        401: [
            f"GET /{'a/../' * 100} HTTP/1.1\r\n{end}",
            f"GET / HTTP/1.1\r\nAuthorization: Bearer {'a.' * 400}\r\n{end}",
            f"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n{end}",
        ],
        431: [f"GET / HTTP/1.1\r\nX: {'x' * 100_000}\r\n{end}"],
    }
    for status, texts in requests.items():
        for text in texts * 100:
            with socket.create_connection(("127.0.0.1", ours.port)) as connection:
                connection.sendall(text.encode())
                answer = connection.recv(12).decode()
            if answer not in (f"HTTP/1.1 {status}", "HTTP/1.1 429"):
                sys.exit(f"{text[:99]!r} is answered {answer!r}, and not {status}")
    ours.end()


def sign_in(start, application, tokens):
    """Sign-ins, and sessions that are used, refreshed and ended."""
    settings = {
        "SIWA_SESSIONS__KEY_FILES": str(lab.PLACE / "session-key"),
        "SIWA_SIGN_IN__PATH": "/auth/apple",
        "SIWA_SIGN_IN__RATE_PER_SECOND": "10000",
        "SIWA_STORE__FILE": str(lab.PLACE / "store.redb"),
    }
    ours = start("sign in", upstream=application, **settings).wait_until_it_answers(200, tokens[0])
    connection = http.client.HTTPConnection("127.0.0.1", ours.port)

    def post(path, body):
        connection.request("POST", f"/auth/apple{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            sys.exit(f"{path} is answered {answer.status}: {text}")
        return json.loads(text)

    for token in tokens[:300]:
        session = post("", {"identityToken": token})
        session = post("/refresh", {"refresh_token": session["refresh_token"]})
    (lab.PLACE / "session").write_text(session["access_token"] + "\n")
    load(ours, "session")
    post("/logout", {"refresh_token": session["refresh_token"]})
    ours.end()


def main():
    program, directory = (str(Path(path).resolve()) for path in sys.argv[1:])
    lab.need("nginx", "wrk", "h2load", "curl", "openssl", "taskset")
    simulator, application = lab.simulator(program), lab.application()
    tokens = lab.mint(simulator, PEOPLE)
    lab.write_tokens(tokens)
    (lab.PLACE / "session-key").write_bytes(subprocess.check_output([program, "session-key"]))
    (lab.PLACE / "session-key").chmod(0o600)
    counts_go_to = {"LLVM_PROFILE_FILE": f"{directory}/%p.profraw"}
    start = functools.partial(lab.siwa_proxy, binary=program, simulator=simulator, **counts_go_to)
    for workload in (proxy, proxy_on_two_cores, log, evict, encrypt, answer_gateways, refuse, sign_in):
        print(workload.__name__, file=sys.stderr)
        workload(start, application, tokens)


if __name__ == "__main__":
    lab.in_a_folder(main)
