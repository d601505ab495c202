"""The Debian package: made by cargo-deb, judged by lintian, and installed, run and removed in a clean root.

    debian_package.py --work DIRECTORY

Takes the program from below DIRECTORY/target, where the test of the image leaves it. Needs root, debootstrap, lintian,
cargo-deb, and Debian's archive. What it cannot show is the unit's sandbox, as there is no systemd to start it.
"""

import argparse
import configparser
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import unittest

from support import CLIENT_ID, NOBODY, application, ask, free_port, run, token_of, wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
OPTIONS = argparse.Namespace()
SETTINGS = "etc/siwa-proxy/siwa-proxy.toml"
UNITS = "siwa-proxy.service siwa-proxy.socket".split()


class DebianPackage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(OPTIONS.work).absolute()
        packages = cls.work / "deb"
        shutil.rmtree(packages, ignore_errors=True)
        environment = {**os.environ, "CARGO_TARGET_DIR": str(cls.work / "target")}
        host = re.search("^host: (.*)$", run("rustc", "-vV"), re.MULTILINE)[1]
        run("cargo", "deb", "--no-build", "--target", host, "--output", f"{packages}/", cwd=REPOSITORY, env=environment)
        [cls.package] = packages.glob("siwa-proxy_*.deb")
        cls.clean_root()

    @classmethod
    def clean_root(cls):
        cls.root = cls.work / "debian-root"
        shutil.rmtree(cls.root, ignore_errors=True)
        # A machine that is booted has systemd; what others bring is there before, so that what is left in the end is ours.
        run("debootstrap", "--variant=minbase", "--include=systemd,procps,ca-certificates", "bookworm", str(cls.root))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        shutil.copy(cls.package, cls.root / "siwa-proxy.deb")

    @classmethod
    def inside(cls, *command):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        return run("chroot", str(cls.root), *command, env=environment)

    def setUp(self):
        self.before = self.files()
        self.inside("dpkg", "--install", "/siwa-proxy.deb")

    def tearDown(self):
        """Whatever a test did, the package goes as if it had never been there."""
        self.inside("dpkg", "--purge", "siwa-proxy")
        self.assertEqual(self.files() - self.before, set())

    def files(self):
        """But for what dpkg, apt and the linker remember of anybody."""
        ignored = ("var/cache", "var/log", "var/lib/dpkg", "var/lib/apt", "etc/ld.so.cache", "proc", "tmp")
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return {name for name in found if not name.startswith(ignored)}

    def service(self):
        """The installed unit's [Service], each key's last value."""
        [unit] = self.root.glob("usr/lib/systemd/system/siwa-proxy.service")
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str
        parser.read_string(unit.read_text())
        return parser["Service"]

    def write_settings(self):
        file = self.root / SETTINGS
        text = file.read_text()
        self.assertIn("client_ids = []", text)
        file.write_text(text.replace("client_ids = []", f'client_ids = ["{CLIENT_ID}"]'))

    @contextlib.contextmanager
    def started(self, wrapper=(), **environment):
        """The unit's command, as the user whom it might get and with the directories that it asks for."""
        state = self.root / "var/lib/siwa-proxy"
        state.mkdir(exist_ok=True)
        os.chown(state, int(NOBODY), int(NOBODY))
        chroot = ["chroot", f"--userspec={NOBODY}:{NOBODY}", str(self.root)]
        command = [*wrapper, *chroot, *shlex.split(self.service()["ExecStart"])]
        process = subprocess.Popen(
            command, env={"PATH": os.environ["PATH"], **environment}, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
            shutil.rmtree(state)

    @contextlib.contextmanager
    def apple(self):
        port = free_port()
        command = ["chroot", str(self.root), "/usr/bin/siwa-proxy", "sim", "--listen", f"127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            wait_until(lambda: ask(port, "/auth/keys")[0] == 200, process)
            yield port
            process.kill()

    def test_lintian_finds_no_error(self):
        said = run("lintian", "--fail-on", "error", str(self.package))
        print(f"lintian: {said.strip() or 'nothing to say'}")

    def test_nothing_starts_by_itself_and_the_first_start_says_what_is_missing(self):
        for unit in UNITS:
            state = subprocess.run(
                ["systemctl", f"--root={self.root}", "is-enabled", unit], text=True, capture_output=True, check=False
            )
            self.assertEqual(state.stdout.strip(), "disabled")
        with self.started() as service:
            self.assertEqual(service.wait(timeout=60), 64)
            self.assertIn("apple.client_ids: no client id is given", service.stderr.read())
        self.assertEqual(self.service()["RestartPreventExitStatus"], "64")

    def test_the_units_mean_something_to_systemd(self):
        run("systemd-analyze", "verify", f"--root={self.root}", "--man=no", *UNITS)
        said = run("systemd-analyze", "security", f"--root={self.root}", "--offline=true", "--threshold=13", "siwa-proxy.service")
        self.assertIn("Overall exposure level for siwa-proxy.service: 1.2", said)

    def test_the_units_command_serves(self):
        self.write_settings()
        public, admin = free_port(), free_port()
        with self.apple() as apple, application() as app:
            # As /etc/default/siwa-proxy would say it.
            environment = {
                "SIWA_JWKS__URL": f"http://127.0.0.1:{apple}/auth/keys",
                "SIWA_UPSTREAM__URL": f"http://127.0.0.1:{app}",
                "SIWA_SERVER__LISTEN": f"127.0.0.1:{public}",
                "SIWA_SERVER__ADMIN_LISTEN": f"127.0.0.1:{admin}",
            }
            with self.started(**environment) as service:
                wait_until(lambda: ask(admin, "/readyz")[0] == 200, service)
                bearer = {"Authorization": f"Bearer {token_of(apple)}"}
                self.assertEqual(ask(public, "/", bearer)[0], 200)
                self.assertEqual(ask(public, "/")[0], 401)
                keys = self.root / "var/lib/siwa-proxy/apple-keys"
                wait_until(keys.exists, service)

                # ExecReload: with other apps, the same token is no good any more.
                file = self.root / SETTINGS
                file.write_text(file.read_text().replace(CLIENT_ID, "com.example.other"))
                self.assertEqual(self.service()["ExecReload"], "/bin/kill -HUP $MAINPID")
                service.send_signal(signal.SIGHUP)
                wait_until(lambda: ask(public, "/", bearer)[0] == 401, service)

                service.terminate()
                self.assertEqual(service.wait(timeout=45), 0)

    def test_it_takes_the_socket_that_systemd_holds(self):
        self.write_settings()
        public, admin = free_port(), free_port()
        with self.apple() as apple, application() as app:
            environment = {
                "SIWA_JWKS__URL": f"http://127.0.0.1:{apple}/auth/keys",
                "SIWA_UPSTREAM__URL": f"http://127.0.0.1:{app}",
                "SIWA_SERVER__LISTEN": "systemd",
                "SIWA_SERVER__ADMIN_LISTEN": f"127.0.0.1:{admin}",
            }
            pass_on = [f"--setenv={name}={value}" for name, value in environment.items()]
            wrapper = ["systemd-socket-activate", f"--listen=127.0.0.1:{public}", *pass_on]
            with self.started(wrapper) as service:
                # The first request has it started, and waits for it.
                wait_until(lambda: ask(public, "/")[0] == 401, service)
                wait_until(lambda: ask(admin, "/readyz")[0] == 200, service)
                self.assertEqual(ask(public, "/", {"Authorization": f"Bearer {token_of(apple)}"})[0], 200)

    def test_settings_outlast_removal_and_a_new_version(self):
        self.write_settings()
        self.inside("dpkg", "--remove", "siwa-proxy")
        self.assertFalse((self.root / "usr/bin/siwa-proxy").exists())
        self.inside("dpkg", "--install", "/siwa-proxy.deb")
        self.assertIn(CLIENT_ID, (self.root / SETTINGS).read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.parse_args(namespace=OPTIONS)
    unittest.main(argv=["debian"], verbosity=2)
