"""What the packaging tests share: an application to stand behind the proxy, requests, and tokens of the simulator."""

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLIENT_ID = "com.example.app"
# The user that containers run as, as /proc writes it.
NOBODY = "65532"


def run(*command, show=False, **options):
    """What `command` prints; the test fails, with what it complains of, if it does. `show` lets it speak for itself."""
    capture = {} if show else {"capture_output": True}
    done = subprocess.run(command, text=True, check=False, **capture, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout or ''}{done.stderr or ''}")
    return done.stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def application(address="127.0.0.1", port=0):
    """Answers with the header lines that it was sent, and yields its port."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self):
            body = "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer((address, port), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def ask(port, path, headers=None, host="127.0.0.1", body=None):
    """Status and body; (0, why) if nobody answers."""
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers or {}, data=body)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def token_of(apple):
    """A token of the simulator that listens on port `apple`."""
    status, said = ask(apple, "/sim/token", body=json.dumps({"claims": {"aud": CLIENT_ID}}).encode())
    if status != 200:
        raise AssertionError(f"{status}: {said}")
    return json.loads(said)["identity_token"]


def wait_until(holds, process, patience=60):
    """Waits until `holds()`, for as long as `process` runs."""
    end = time.monotonic() + patience
    while not holds():
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.stderr.read()}")
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.1)
