"""The placements of deploy/ that need no cluster and no engine to be tried: their commands and settings, on their own ports.

    placements.py --siwa-proxy FILE --kubectl FILE

Each test has a network of its own, as a pod does: loopback, and one address by which others reach it. Needs root.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import yaml

from support import application, ask, run, token_of, wait_until

DEPLOY = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy"
POD_ADDRESS = "10.1.2.3"
OPTIONS = argparse.Namespace()


@contextlib.contextmanager
def started(*command, **environment):
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


class Sidecar(unittest.TestCase):
    """deploy/kubernetes/sidecar, with the simulator in Apple's place."""

    @classmethod
    def setUpClass(cls):
        everything = list(yaml.safe_load_all(run(OPTIONS.kubectl, "kustomize", str(DEPLOY / "kubernetes/sidecar"))))
        by_kind = {document["kind"]: document for document in everything}
        cls.settings = by_kind["ConfigMap"]["data"]["siwa-proxy.toml"]
        pod = by_kind["Deployment"]["spec"]["template"]["spec"]
        [cls.proxy], [cls.app] = pod["initContainers"], pod["containers"]
        cls.service = by_kind["Service"]["spec"]["ports"][0]

    @contextlib.contextmanager
    def pod(self, with_keys=True):
        """The sidecar, as the kubelet starts it, and the simulator's port."""
        with tempfile.TemporaryDirectory() as folder:
            settings = pathlib.Path(folder) / "siwa-proxy.toml"
            settings.write_text(self.settings.replace("/var/lib/siwa-proxy", folder))
            arguments = [a.replace("/etc/siwa-proxy/siwa-proxy.toml", str(settings)) for a in self.proxy["args"]]
            jwks = {"SIWA_JWKS__URL": "http://127.0.0.1:4190/auth/keys"}
            simulator = started(OPTIONS.siwa_proxy, "sim") if with_keys else contextlib.nullcontext()
            with simulator, started(OPTIONS.siwa_proxy, *arguments, **jwks) as proxy:
                yield proxy

    def probe(self, container, name):
        """What the kubelet is answered: it asks at the pod's address."""
        question = container[name]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        return ask(ports.get(question["port"], question["port"]), question["path"], host=POD_ADDRESS)[0]

    def test_the_kubelet_sees_the_application_through_the_proxy_although_it_is_bound_to_loopback(self):
        port = int(next(v["value"] for v in self.app["env"] if v["name"] == "PORT"))
        host = next(v["value"] for v in self.app["env"] if v["name"] == "HOST")
        with self.pod() as proxy:
            wait_until(lambda: self.probe(self.proxy, "readinessProbe") == 200, proxy)
            with application(host, port):
                self.assertEqual(self.probe(self.app, "readinessProbe"), 200)
                self.assertEqual(self.probe(self.app, "livenessProbe"), 200)
                self.assertEqual(ask(port, "/healthz", host=POD_ADDRESS)[0], 0, "the application can be reached")

                target = {p["name"]: p["containerPort"] for p in self.proxy["ports"]}[self.service["targetPort"]]
                self.assertEqual(ask(target, "/", host=POD_ADDRESS)[0], 401)
                bearer = {"Authorization": f"Bearer {token_of(4190)}"}
                status, said = ask(target, "/", bearer, host=POD_ADDRESS)
                self.assertEqual((status, "x-apple-sub: " in said), (200, True))
                # What is public carries nobody's name.
                said = ask(target, "/healthz", {**bearer, "X-Apple-Sub": "somebody.else"}, host=POD_ADDRESS)[1]
                self.assertNotIn("x-apple-sub", said)
            # And it sees when the application is gone.
            self.assertEqual(self.probe(self.app, "livenessProbe"), 502)
            self.assertEqual(self.probe(self.proxy, "livenessProbe"), 200)

    def test_the_application_may_start_during_an_outage_of_apples_and_gets_no_traffic(self):
        with self.pod(with_keys=False) as proxy:
            wait_until(lambda: self.probe(self.proxy, "startupProbe") == 200, proxy)
            self.assertEqual(self.probe(self.proxy, "readinessProbe"), 503)

    def test_a_told_sidecar_ends_well_within_its_time(self):
        with self.pod() as proxy:
            wait_until(lambda: self.probe(self.proxy, "readinessProbe") == 200, proxy)
            proxy.terminate()
            self.assertEqual(proxy.wait(timeout=20), 0)


class Compose(unittest.TestCase):
    """deploy/compose, whose services share a network; the commands are those that it says."""

    def test_a_token_of_the_simulator_passes_and_nothing_else_does(self):
        services = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]
        shared = {name for name, service in services.items() if service.get("network_mode") == "service:siwa-proxy"}
        self.assertEqual(shared, set(services) - {"siwa-proxy"})
        app = [word.replace("/app.py", str(DEPLOY / "compose/app.py")) for word in services["app"]["command"]]
        with (
            started(OPTIONS.siwa_proxy, *services["simulator"]["command"]),
            started(*app, PATH=os.environ["PATH"]),
            started(OPTIONS.siwa_proxy, *services["siwa-proxy"]["command"]) as proxy,
        ):
            wait_until(lambda: ask(4181, "/readyz")[0] == 200 and ask(3000, "/")[0] == 200, proxy)
            said = run("curl", *services["token"]["command"])
            token = said.split('"')[3]
            status, said = ask(4180, "/", {"Authorization": f"Bearer {token}"})
            self.assertEqual((status, "x-apple-sub: " in said.lower()), (200, True))
            self.assertEqual(ask(4180, "/")[0], 401)


if __name__ == "__main__":
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv, "--inside"])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--siwa-proxy", required=True, type=os.path.abspath)
    parser.add_argument("--kubectl", required=True)
    parser.add_argument("--inside", action="store_true")
    parser.parse_args(namespace=OPTIONS)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{POD_ADDRESS}/32", "dev", "lo")
    unittest.main(argv=["placements"], verbosity=2)
