"""Every manifest in deploy/, as kustomize and helm render it, held against the schemas of several versions of Kubernetes.

    manifests.py --kubectl FILE --helm FILE --siwa-proxy FILE

Built-in kinds are checked by kubernetes-validate, strictly: a field that does not exist is an error. Custom resources are
checked against the small schemas in crds/, which know the fields that we use. What neither says is checked here: that pods
are hardened, that they end in time, that ports meet, and that the program accepts the settings inside (--siwa-proxy).
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).resolve().parent
DEPLOY = HERE.parent.parent / "deploy"
CHART = DEPLOY / "helm" / "siwa-proxy"
CRDS = {schema.stem: json.loads(schema.read_text()) for schema in (HERE / "crds").glob("*.json")}
# The oldest with native sidecars, a common one, and the newest that the validator knows.
VERSIONS = ["1.29", "1.33", "1.37"]
TOOLS = argparse.Namespace()

# Helm's values, from the least to everything at once.
VALUES = {
    "least": {"clientIds": ["com.example.app"], "upstream": "http://my-app:3000"},
    "door": {"clientIds": ["com.example.app"], "settings": 'doors.auth_request = ["/ask"]\n'},
    "secret": {"existingSecret": "my-settings", "podDisruptionBudget": {"enabled": False}},
    "everything": {
        "clientIds": ["com.example.app", "com.example.admin"],
        "upstream": "http://my-app.my-app.svc.cluster.local:3000",
        "settings": '[[route]]\npath = "/healthz"\naccess = "public"\n',
        "image": {"repository": "registry.example.com/siwa-proxy", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "autoscaling": {"enabled": True},
        "drain": {"delay": 20, "timeout": 60},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"a": "b"},
            "hosts": ["app.example.com"],
            "tls": [{"secretName": "tls", "hosts": ["app.example.com"]}],
        },
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["app.example.com"]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "networkPolicy": {"from": [{"namespaceSelector": {}}]},
        "extraArgs": ["--log=debug"],
        "extraEnv": [{"name": "SIWA_LOG__FORMAT", "value": "json"}],
        "extraVolumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
        "extraVolumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "priorityClassName": "high",
    },
}


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def kustomizations():
    return sorted(file.parent for file in (DEPLOY / "kubernetes").rglob("kustomization.yaml"))


def helm_template(values):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        return run(TOOLS.helm, "template", "release", str(CHART), "--namespace", "siwa-proxy", "--values", file.name)


def plain_files():
    """Manifests that are shipped as they are, for what other folders set up."""
    return [file for folder in ("istio", "envoy-gateway") for file in sorted((DEPLOY / folder).glob("*.yaml"))]


def rendered():
    """Everything that we ship, as (where it is from, its documents)."""
    for folder in kustomizations():
        yield str(folder.relative_to(DEPLOY)), documents(run(TOOLS.kubectl, "kustomize", str(folder)))
    for name, values in VALUES.items():
        yield f"helm with {name}", documents(helm_template(values))
    for file in plain_files():
        yield str(file.relative_to(DEPLOY)), documents(file.read_text())


def is_custom(document):
    group = document["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io") or group == "gateway.networking.k8s.io"


def validate(document, version):
    """Fails unless `document` is what Kubernetes `version`, or our schema of a custom resource, expects."""
    if is_custom(document):
        jsonschema.validate(document, CRDS[document["kind"]])
    else:
        kubernetes_validate.validate(document, version, strict=True)


def pod_of(document):
    """The pod's spec in a Deployment or a Pod."""
    return {"Deployment": lambda: document["spec"]["template"]["spec"], "Pod": lambda: document["spec"]}.get(
        document["kind"], lambda: None
    )()


def containers_of(pod):
    return pod.get("initContainers", []) + pod["containers"]


def pods():
    for place, everything in rendered():
        for document in everything:
            pod = pod_of(document)
            if pod:
                yield f"{place}: {document['kind']} {document['metadata']['name']}", pod, everything


def proxy_of(pod):
    return next(c for c in containers_of(pod) if c["name"] in ("siwa-proxy", "check"))


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def mounted_toml(pod, everything):
    """The settings that the proxy of `pod` reads, if they are not in a Secret of somebody else's."""
    names = {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
    maps = [d for d in everything if d["kind"] == "ConfigMap" and d["metadata"]["name"] in names]
    return maps[0]["data"]["siwa-proxy.toml"] if maps else None


def environment_of(container):
    return {variable["name"]: variable["value"] for variable in container.get("env", [])}


class Schemas(unittest.TestCase):
    def test_every_manifest_is_valid_in_every_version(self):
        for place, everything in rendered():
            self.assertTrue(everything, place)
            for document in everything:
                for version in VERSIONS:
                    name = f"{place}, {document['kind']} {document['metadata']['name']}, Kubernetes {version}"
                    with self.subTest(name):
                        validate(document, version)

    def test_a_misspelt_field_is_found_in_every_kind(self):
        """A validator that accepts everything would pass the test above."""
        kinds = {}
        for _, everything in rendered():
            kinds.update((document["kind"], document) for document in everything)
        for kind, document in kinds.items():
            holder = "data" if kind == "ConfigMap" else "metadata" if "spec" not in document else "spec"
            misspelt = dict(document)
            if holder == "data":
                misspelt["dataa"] = misspelt.pop("data")
            else:
                misspelt[holder] = {**document[holder], "misspeltt": 1}
            for version in VERSIONS:
                with self.subTest(f"{kind}, Kubernetes {version}"), self.assertRaises(Exception):
                    validate(misspelt, version)

    def test_a_misspelt_field_deep_inside_is_found(self):
        [deployment] = [
            d
            for d in documents(run(TOOLS.kubectl, "kustomize", str(DEPLOY / "kubernetes" / "sidecar")))
            if d["kind"] == "Deployment"
        ]
        sidecar = deployment["spec"]["template"]["spec"]["initContainers"][0]
        sidecar["restartPolicyy"] = sidecar.pop("restartPolicy")
        for version in VERSIONS:
            with self.subTest(version), self.assertRaises(kubernetes_validate.ValidationError):
                validate(deployment, version)

    def test_helm_refuses_values_that_mean_nothing(self):
        good = VALUES["least"]
        cases = {
            "no client id": {**good, "clientIds": []},
            "a client id that is two": {**good, "clientIds": ["a,b"]},
            "a misspelt name": {**good, "replicas": 3},
            "a misspelt name inside": {**good, "image": {"repository": "a", "tagg": "1"}},
            "an application without a scheme": {**good, "upstream": "my-app:3000"},
            "an ingress for nobody": {**good, "ingress": {"enabled": True}},
            "a route from nowhere": {**good, "httpRoute": {"enabled": True}},
        }
        for name, values in cases.items():
            with self.subTest(name), self.assertRaises(subprocess.CalledProcessError) as refused:
                helm_template(values)
            self.assertIn("schema", refused.exception.stderr)

    def test_everything_names_the_version_of_the_program(self):
        manifest = (DEPLOY.parent / "Cargo.toml").read_text()
        version = re.search(r'^version = "(.*)"$', manifest, re.MULTILINE)[1]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], version)
        self.assertIn(f"siwa-proxy ({version}-", (DEPLOY / "debian" / "changelog").read_text().split("\n")[0])
        for folder in kustomizations():
            images = yaml.safe_load((folder / "kustomization.yaml").read_text()).get("images", [])
            tags = [image["newTag"] for image in images if image["name"] == "siwa-proxy"]
            self.assertEqual(set(tags) - {version}, set(), folder)

    def test_helm_finds_nothing_to_say_about_the_chart(self):
        run(TOOLS.helm, "lint", "--strict", str(CHART), "--set", "clientIds={com.example.app}")


class Pods(unittest.TestCase):
    def test_every_container_is_restricted(self):
        """Pod Security Standards, level "restricted", and a root file system that nobody writes to."""
        for place, pod, _ in pods():
            with self.subTest(place):
                self.assertFalse(pod["automountServiceAccountToken"])
                self.assertFalse(pod["enableServiceLinks"])
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                self.assertEqual(pod["securityContext"]["runAsUser"], 65532)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in containers_of(pod):
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False)
                    self.assertIs(context["readOnlyRootFilesystem"], True)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])

    def test_probes_ask_the_right_question_of_the_right_port(self):
        for place, pod, _ in pods():
            proxy = proxy_of(pod)
            if proxy["name"] != "siwa-proxy":
                continue
            with self.subTest(place):
                ports = {port["name"]: port["containerPort"] for port in proxy["ports"]}
                self.assertEqual(ports, {"http": 4180, "admin": 4181})
                asked = {name: proxy[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
                self.assertEqual({question["port"] for question in asked.values()}, {"admin"})
                self.assertEqual([q["path"] for q in asked.values()], ["/livez", "/livez", "/readyz"])

    def test_pods_have_the_time_to_end(self):
        for place, pod, everything in pods():
            proxy = proxy_of(pod)
            if proxy["name"] != "siwa-proxy":
                continue
            with self.subTest(place):
                text = mounted_toml(pod, everything) or ""
                said = dict(re.findall(r'^(drain_\w+) = "(.*)"$', text, re.MULTILINE))
                said.update(
                    (name.removeprefix("SIWA_SERVER__").lower(), value)
                    for name, value in environment_of(proxy).items()
                    if name.startswith("SIWA_SERVER__DRAIN_")
                )
                needed = seconds(said["drain_delay"]) + seconds(said["drain_timeout"])
                for container in pod["containers"]:
                    needed += container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                self.assertLess(needed, pod["terminationGracePeriodSeconds"])

    def test_services_lead_to_the_public_port_of_pods_that_exist(self):
        for place, everything in rendered():
            labels = [d["spec"]["template"]["metadata"]["labels"] for d in everything if d["kind"] == "Deployment"]
            for service in (d for d in everything if d["kind"] == "Service" and labels):
                with self.subTest(f"{place}: {service['metadata']['name']}"):
                    selector = service["spec"]["selector"].items()
                    self.assertTrue(any(selector <= pod.items() for pod in labels))
                    is_admin = service["spec"].get("clusterIP") == "None"
                    targets = [port["targetPort"] for port in service["spec"]["ports"]]
                    self.assertEqual(targets, ["admin" if is_admin else "http"])

    def test_the_program_accepts_the_settings_inside(self):
        accepted = 0
        for place, pod, everything in pods():
            text = mounted_toml(pod, everything)
            if text is None:
                continue
            with self.subTest(place), tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                file.write(text)
                file.flush()
                proxy = proxy_of(pod)
                arguments = [file.name if a == "/etc/siwa-proxy/siwa-proxy.toml" else a for a in proxy["args"]]
                # `check` in place of `serve`: the same settings, and no sockets.
                arguments = ["check"] + [a for a in arguments if a not in ("serve", "check", "--online")]
                environment = {**environment_of(proxy), **({"SIWA_CONFIG": file.name} if proxy.get("env") else {})}
                done = subprocess.run(
                    [TOOLS.siwa_proxy, *arguments], env=environment, text=True, capture_output=True, check=False
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                accepted += 1
        self.assertGreaterEqual(accepted, 8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--kubectl", "--helm", "--siwa-proxy"):
        parser.add_argument(name, required=True)
    parser.parse_known_args(namespace=TOOLS)
    unittest.main(argv=["manifests.py"], verbosity=1)
