"""Builds both images by the repository's Dockerfile, and runs them as a container engine would.

    image_on_stand_in_bases.py --work DIRECTORY [--only distroless|scratch] [--no-build]

There is no container engine and no registry of images where this runs: buildah builds, and the two base images are stand-ins
that are made here out of this machine's own packages. What it shows is that the Dockerfile is right, and not that the real
bases are what they are expected to be. Needs root, Debian, buildah, the Rust toolchain and a C compiler.

DIRECTORY keeps what was compiled: a second run compiles the program alone, and with --no-build nothing.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support import CLIENT_ID, NOBODY, application, ask, free_port, run, token_of, wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
MEGABYTE = 1_000_000
OPTIONS = argparse.Namespace()


def buildah(*arguments, **options):
    return run("buildah", "--storage-driver", "vfs", *arguments, **options)


# --- the stand-ins


def files_of(packages, wanted):
    """The files of installed Debian packages whose path matches `wanted`."""
    listed = run("dpkg", "-L", *packages).split()
    return [pathlib.Path(path) for path in listed if re.search(wanted, path) and not os.path.isdir(path)]


def certificate_authorities():
    """Mozilla's, as the real bases have them, without any that this machine has of its own."""
    return "".join(path.read_text() for path in sorted(files_of(["ca-certificates"], r"/mozilla/.*\.crt$")))


def write_common(root):
    for folder in ("etc/ssl/certs", "usr", "proc", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(certificate_authorities())


def make_base(name, fill, *configuration):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "root"
        root.mkdir()
        write_common(root)
        fill(root)
        (pathlib.Path(folder) / "Dockerfile").write_text("FROM scratch\nCOPY root /\n" + "\n".join(configuration) + "\n")
        buildah("bud", "--pull-never", "--isolation", "chroot", "--tag", name, folder)


def make_toolchain_base():
    """In place of rust:1.95-bookworm: nothing but the places where this machine's compilers are lent."""

    def fill(root):
        for folder in ("rust", "cargo", "src", "etc/alternatives", "root", "var"):
            (root / folder).mkdir()

    environment = "ENV PATH=/rust/bin:/usr/bin:/bin HOME=/root CARGO_NET_OFFLINE=true"
    make_base("localhost/stand-in-for-rust", fill, environment)


def make_runtime_base():
    """In place of gcr.io/distroless/cc-debian12:nonroot: the C library, libgcc, the authorities, and no program."""

    def fill(root):
        for path in files_of(["libc6", "libgcc-s1"], r"\.so(\.|$)|/ld-linux"):
            target = root / "usr" / str(path).removeprefix("/usr").lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
        (root / "usr/lib64").mkdir(exist_ok=True)
        (root / "etc/passwd").write_text("nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
        (root / "etc/group").write_text("nonroot:x:65532:\n")

    make_base("localhost/stand-in-for-distroless-cc", fill, "USER 65532:65532")


def build(target):
    """Builds one image by the repository's Dockerfile, and returns its name."""
    name = f"localhost/siwa-proxy-{target}"
    if OPTIONS.no_build:
        return name
    cargo_home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    # As between the stages of a real engine, what is compiled for the one is not there for the other.
    compiled = pathlib.Path(OPTIONS.work) / ("target" if target == "distroless" else f"target-{target}")
    compiled.mkdir(parents=True, exist_ok=True)
    lent = {
        "/usr": "/usr:ro",
        "/etc/alternatives": "/etc/alternatives:ro",
        run("rustc", "--print", "sysroot", cwd=REPOSITORY).strip(): "/rust:ro",
        str(cargo_home / "registry"): "/cargo/registry",
        str(compiled): "/src/target",
    }
    buildah(
        *("bud", "--pull-never", "--isolation", "chroot", "--network", "host", "--format", "docker"),
        *("--build-arg", "RUST_IMAGE=localhost/stand-in-for-rust"),
        *("--build-arg", "RUNTIME_IMAGE=localhost/stand-in-for-distroless-cc"),
        *("--build-arg", "SIWA_COMMIT=0123456789ab", "--build-arg", "VERSION=0.1.0"),
        *(word for here, there in lent.items() for word in ("--volume", f"{here}:{there}")),
        *("--ignorefile", str(REPOSITORY / ".dockerignore"), "--file", str(REPOSITORY / "Dockerfile")),
        *("--target", target, "--tag", name, str(REPOSITORY)),
        show=True,
    )
    return name


# --- what a container engine does


class Container:
    """A root file system, as an engine lays it out: read-only, with /proc, /dev/null, and names to resolve."""

    def __init__(self, root):
        self.root = root
        for folder in ("proc", "dev", "etc"):
            (root / folder).mkdir(exist_ok=True)
        (root / "dev/null").touch()
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/resolv.conf").write_text("")

    def command(self, *arguments):
        """The entrypoint with `arguments`, as user 65532 under a root that cannot be written to."""
        script = (
            'mount --bind "$0" "$0" && mount --bind /dev/null "$0/dev/null" && mount -t proc proc "$0/proc"'
            ' && mount -o remount,bind,ro "$0" && exec chroot --userspec=65532:65532 "$0" "$@"'
        )
        program = "/usr/local/bin/siwa-proxy"
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self.root), program, *arguments]

    @contextlib.contextmanager
    def running(self, *arguments):
        process = subprocess.Popen(
            self.command(*arguments), env={}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()

    def once(self, *arguments):
        return subprocess.run(
            self.command(*arguments), env={}, text=True, capture_output=True, timeout=60, check=False
        )


@contextlib.contextmanager
def key_server(key_set, folder):
    """An https server for one key set, whose certificate is from an authority that nobody knows yet."""
    certificate, key = folder / "server.pem", folder / "server-key.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority"),
        *("-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", str(key), "-out", str(certificate)),
    )

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(key_set)))
            self.end_headers()
            self.wfile.write(key_set)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], certificate.read_text()
    finally:
        server.shutdown()
        server.server_close()


class Image:
    """What holds for both images; each is built once."""

    target = None

    @classmethod
    def setUpClass(cls):
        if OPTIONS.only not in (None, cls.target):
            raise unittest.SkipTest(f"only {OPTIONS.only} was asked for")
        cls.folder = tempfile.TemporaryDirectory()
        cls.name = build(cls.target)
        container = buildah("from", "--pull-never", cls.name).strip()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.addClassCleanup(buildah, "rm", container)
        cls.root = pathlib.Path(cls.folder.name) / "root"
        shutil.copytree(buildah("mount", container).strip(), cls.root, symlinks=True)
        cls.files = [path for path in cls.root.rglob("*") if not path.is_dir() or path.is_symlink()]
        cls.container = Container(cls.root)

    def test_it_says_who_runs_it_what_it_starts_and_how_it_is(self):
        config = json.loads(buildah("inspect", "--type", "image", self.name))["Docker"]["config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], ["/usr/local/bin/siwa-proxy"])
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/local/bin/siwa-proxy", "healthcheck"])
        self.assertEqual(set(config["ExposedPorts"]), {"4180/tcp", "4181/tcp"})
        self.assertEqual(config["Labels"]["org.opencontainers.image.revision"], "0123456789ab")
        self.assertEqual(config["Labels"]["org.opencontainers.image.version"], "0.1.0")
        version = self.container.once("--version").stdout
        self.assertIn("commit 0123456789ab, features ext-authz,mimalloc,otlp", version)

    def test_there_is_no_other_program_in_it(self):
        programs = [path for path in self.files if path.parent.name in ("bin", "sbin")]
        self.assertEqual([path.name for path in programs], ["siwa-proxy"])

    def test_it_is_small(self):
        """What travels: compressed layers."""
        with tempfile.TemporaryDirectory() as folder:
            buildah("push", self.name, f"oci:{folder}:latest")
            index = json.loads((pathlib.Path(folder) / "index.json").read_text())
            blob = lambda digest: pathlib.Path(folder) / "blobs" / digest.replace(":", "/")
            layers = json.loads(blob(index["manifests"][0]["digest"]).read_text())["layers"]
            self.assertTrue(all(layer["mediaType"].endswith("+gzip") for layer in layers), layers)
            size = sum(layer["size"] for layer in layers)
        print(f"{self.target}: {size / MEGABYTE:.1f} MB compressed")
        self.assertLess(size, 25 * MEGABYTE)

    def test_it_lets_through_whom_apple_vouches_for_and_nobody_else(self):
        ports = {name: free_port() for name in ("apple", "public", "admin")}
        admin = f"127.0.0.1:{ports['admin']}"
        with (
            application() as port,
            self.container.running("sim", "--listen", f"127.0.0.1:{ports['apple']}"),
            self.container.running(
                *("serve", "--upstream", f"http://127.0.0.1:{port}", "--client-id", CLIENT_ID),
                *("--listen", f"127.0.0.1:{ports['public']}", "--admin-listen", admin),
                *("--jwks-url", f"http://127.0.0.1:{ports['apple']}/auth/keys"),
            ) as proxy,
        ):
            wait_until(lambda: ask(ports["admin"], "/readyz")[0] == 200, proxy)
            self.assertEqual(self.container.once("healthcheck", "--admin-listen", admin).returncode, 0)

            status, said = ask(ports["public"], "/", {"Authorization": f"Bearer {token_of(ports['apple'])}"})
            self.assertEqual(status, 200)
            self.assertRegex(said, r"x-apple-sub: \d+\.")
            status, said = ask(ports["public"], "/", {"X-Apple-Sub": "somebody.else"})
            self.assertEqual((status, json.loads(said)["code"]), (401, "no_credential"))

            # `unshare` and `chroot` have made room for the program: it is this process.
            uids = re.search(r"^Uid:\s+(.*)$", pathlib.Path(f"/proc/{proxy.pid}/status").read_text(), re.MULTILINE)
            self.assertEqual(set(uids[1].split()), {NOBODY})
            flags = os.statvfs(f"/proc/{proxy.pid}/root").f_flag
            self.assertTrue(flags & os.ST_RDONLY, "the root can be written to")

            proxy.send_signal(signal.SIGTERM)
            self.assertEqual(proxy.wait(timeout=30), 0)
        self.assertEqual(self.container.once("healthcheck", "--admin-listen", admin).returncode, 1)

    def test_the_demonstration_works_in_it(self):
        public, admin = free_port(), free_port()
        with self.container.running(
            *("demo", "--listen", f"0.0.0.0:{public}", "--admin-listen", f"127.0.0.1:{admin}"),
            *("--browser-listen", "127.0.0.1:0"),
        ) as demo:
            wait_until(lambda: ask(admin, "/readyz")[0] == 200, demo)
            page = ""
            while "Bearer" not in page:
                page += demo.stdout.readline()
            token = re.search(r"Bearer (\S+)'", page)[1]
            self.assertEqual(ask(public, "/hello", {"Authorization": f"Bearer {token}"})[0], 200)
            self.assertEqual(ask(public, "/hello")[0], 401)

    def test_keys_are_fetched_over_https_by_the_authorities_in_it(self):
        bundle = self.root / "etc/ssl/certs/ca-certificates.crt"
        mozilla = bundle.read_text()
        self.assertGreater(mozilla.count("BEGIN CERTIFICATE"), 100)
        key_set = (REPOSITORY / "tests/fixtures/jwks/2026-06-30-three-keys.json").read_bytes()
        with application() as port, key_server(key_set, pathlib.Path(self.folder.name)) as (https, certificate):
            check = (
                *("check", "--online", "--client-id", CLIENT_ID, "--upstream", f"http://127.0.0.1:{port}"),
                *("--jwks-url", f"https://localhost:{https}/keys"),
            )
            refused = self.container.once(*check)
            self.assertEqual(refused.returncode, 69, refused.stderr)
            self.assertRegex(refused.stderr, "(?i)certificate|UnknownIssuer")
            try:
                bundle.write_text(mozilla + certificate)
                fetched = self.container.once(*check)
            finally:
                bundle.write_text(mozilla)
            self.assertEqual(fetched.returncode, 0, fetched.stderr)


class Distroless(Image, unittest.TestCase):
    target = "distroless"


class Scratch(Image, unittest.TestCase):
    target = "scratch"

    def test_nothing_is_in_it_but_the_program_the_authorities_and_its_user(self):
        made_for_containers = {"etc/hosts", "etc/resolv.conf", "dev/null"}
        names = {str(path.relative_to(self.root)) for path in self.files} - made_for_containers
        expected = {"usr/local/bin/siwa-proxy", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/group"}
        self.assertEqual(names, expected)
        # No interpreter, so no library either.
        self.assertNotIn("INTERP", run("readelf", "--program-headers", str(self.root / "usr/local/bin/siwa-proxy")))


def setUpModule():
    if os.geteuid() != 0:
        raise RuntimeError("needs root, to make mounts and to become another user")
    work = pathlib.Path(OPTIONS.work)
    work.mkdir(parents=True, exist_ok=True)
    storage = work / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{work}/images"\nrunroot = "{work}/run"\n')
    os.environ["CONTAINERS_STORAGE_CONF"] = str(storage)
    if OPTIONS.no_build:
        return
    run("cargo", "fetch", "--quiet", "--locked", cwd=REPOSITORY)
    make_toolchain_base()
    make_runtime_base()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--only", choices=["distroless", "scratch"])
    parser.add_argument("--no-build", action="store_true")
    parser.parse_args(namespace=OPTIONS)
    unittest.main(argv=["image"], verbosity=2)
