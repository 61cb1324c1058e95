"""The manifests, as kustomize builds them, agree with the code: ports, paths, commands, names, time to drain."""

import os
import re
import subprocess
import tomllib

import pytest
import yaml
from shipped import ROOT, STOP_S, built, parse, settings_of

from app.observability.metrics import INFLIGHT
from app.settings import Settings

OVERLAYS = ("embedded", "scaled")
WORKLOADS = {
    "embedded": {("StatefulSet", "gateway")},
    "scaled": {("Deployment", "gateway"), ("Deployment", "admin"), ("Deployment", "adapter"), ("Job", "migrate")},
}
EVERY = [(overlay, kind, name) for overlay, made in WORKLOADS.items() for kind, name in sorted(made)]
SERVING = [each for each in EVERY if each[1] != "Job"]
SECRETS = "/run/secrets/llm-gateway"


def of_kind(overlay, *kinds):
    return [each for each in built(overlay) if each["kind"] in kinds]


def find(overlay, kind, name):
    (found,) = [each for each in of_kind(overlay, kind) if each["metadata"]["name"] == name]
    return found


def pod(overlay, kind, name):
    return find(overlay, kind, name)["spec"]["template"]["spec"]


def container(overlay, kind, name):
    (only,) = pod(overlay, kind, name)["containers"]
    return only


def labels(overlay, kind, name):
    return find(overlay, kind, name)["spec"]["template"]["metadata"]["labels"]


def selects(selector, given):
    return selector.get("matchLabels", {}).items() <= given.items()


def workload_settings(overlay, kind, name, folder):
    """Return the settings that a pod begins with, its secret made up in a folder of the test."""
    for key, value in {
        "master-secret": "m" * 48,
        "admin-key": "a" * 48,
        "adapter-token": "t" * 48,
        "database-url": "postgresql+asyncpg://gateway:p@db/gateway",
        "state-url": "redis://:p@cache:6379/0",
    }.items():
        (folder / key).write_text(value)
    given = {each["name"]: each["value"] for each in container(overlay, kind, name)["env"]}
    environ = {key: value.replace(SECRETS, str(folder)) for key, value in given.items()}
    path = None
    if environ.pop("GATEWAY_CONFIG", None):
        (configmap,) = of_kind(overlay, "ConfigMap")
        path = folder / "gateway.yaml"
        path.write_text(configmap["data"]["gateway.yaml"].replace(SECRETS, str(folder)))
    return settings_of(path, environ)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_workloads_are_those_that_are_promised(overlay):
    made = {(each["kind"], each["metadata"]["name"]) for each in of_kind(overlay, "Deployment", "StatefulSet", "Job")}
    assert made == WORKLOADS[overlay]
    assert all(
        each["metadata"].get("namespace") == "llm-gateway" for each in built(overlay) if each["kind"] != "Namespace"
    )


@pytest.mark.parametrize(("overlay", "kind", "name"), EVERY)
def test_every_pod_is_restricted(overlay, kind, name):
    spec, only = pod(overlay, kind, name), container(overlay, kind, name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    image_user = int(re.search(r"^USER (\d+)", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)[1])
    assert spec["securityContext"]["runAsUser"] == image_user
    assert only["resources"]["limits"].keys() == {"memory"}
    assert not {"hostPath"} & {key for volume in spec["volumes"] for key in volume}
    assert {each["name"] for each in only["volumeMounts"]} <= {
        *(each["name"] for each in spec["volumes"]),
        *(each["metadata"]["name"] for each in find(overlay, kind, name)["spec"].get("volumeClaimTemplates", [])),
    }
    assert "/tmp" in {each["mountPath"] for each in only["volumeMounts"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_takes_only_restricted_pods(overlay):
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(("overlay", "kind", "name"), EVERY)
def test_every_command_is_one_and_its_image_is_of_this_version(overlay, kind, name):
    only = container(overlay, kind, name)
    given = parse(only["args"])
    planes = {"StatefulSet": "all"}.get(kind, name)
    assert (given["command"], given.get("plane", planes)) == (
        {"migrate": "migrate", "adapter": "adapter"}.get(name, "serve"),
        planes,
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert only["image"] == f"llm-api-gateway:{version}"


@pytest.mark.parametrize(("overlay", "kind", "name"), EVERY)
def test_the_settings_of_every_pod_hold_and_need_no_other_part_of_the_secret(overlay, kind, name, tmp_path):
    settings = workload_settings(overlay, kind, name, tmp_path)
    (volume,) = [each for each in pod(overlay, kind, name)["volumes"] if each["name"] == "secrets"]
    given = {item["path"] for item in volume["secret"]["items"]}
    read = set(re.findall(rf"{SECRETS}/([a-z-]+)", yaml.safe_dump(container(overlay, kind, name))))
    if any(each["name"] == "GATEWAY_CONFIG" for each in container(overlay, kind, name)["env"]):
        (configmap,) = of_kind(overlay, "ConfigMap")
        read |= set(re.findall(rf"{SECRETS}/([a-z-]+)", configmap["data"]["gateway.yaml"]))
    assert given == read
    if name in {"gateway", "admin"}:
        assert settings.admin_key is not None
        assert settings.master_secret is not None
        assert settings.has_sqlite is (overlay == "embedded")


@pytest.mark.parametrize(("overlay", "kind", "name"), SERVING)
def test_ports_are_where_the_code_listens(overlay, kind, name, tmp_path):
    settings = workload_settings(overlay, kind, name, tmp_path)
    expected = {"gateway": settings.gateway.port, "admin": settings.admin.port}
    if name == "adapter":
        given = parse(container(overlay, kind, name)["args"])
        expected["adapter"] = given["port"]
        assert given["host"] == "0.0.0.0"
    for port in container(overlay, kind, name)["ports"]:
        assert expected[port["name"]] == port["containerPort"]


@pytest.mark.parametrize(("overlay", "kind", "name"), SERVING)
def test_probes_ask_what_is_answered(overlay, kind, name):
    only = container(overlay, kind, name)
    ready = "/healthz" if name == "adapter" else "/readyz"
    probes = {each: only[each]["httpGet"]["path"] for each in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": ready}
    names = {port["name"] for port in only["ports"]}
    assert all(only[each]["httpGet"]["port"] in names for each in probes)


@pytest.mark.parametrize(("overlay", "kind", "name"), SERVING)
def test_a_pod_has_the_time_that_a_drain_may_take(overlay, kind, name, tmp_path):
    spec = pod(overlay, kind, name)
    before = container(overlay, kind, name)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain_s = workload_settings(overlay, kind, name, tmp_path).drain_s
    assert spec["terminationGracePeriodSeconds"] >= before + drain_s + STOP_S
    assert before >= 3


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_leads_to_a_pod_that_has_its_port(overlay):
    pods = [(labels(*each), container(*each)) for each in SERVING if each[0] == overlay]
    services = of_kind(overlay, "Service")
    assert {each["metadata"]["name"] for each in services} >= {"gateway", "admin"}
    for service in services:
        found = [only for given, only in pods if service["spec"]["selector"].items() <= given.items()]
        assert found, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            for only in found:
                ports = {each["name"]: each["containerPort"] for each in only["ports"]}
                assert ports[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_is_closed_but_for_what_is_named(overlay):
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, spec in policies.items():
        for rule in (*spec.get("ingress", []), *spec.get("egress", [])):
            assert rule.get("ports"), name
            assert rule.get("from") or rule.get("to"), name
        used = [each for each in EVERY if each[0] == overlay and selects(spec["podSelector"], labels(*each))]
        assert used, f"{name} selects no pod"
    vendors = policies["vendors"]["egress"][0]["to"][0]["ipBlock"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(vendors["except"])


def test_what_calls_and_what_is_called_agree():
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind("scaled", "NetworkPolicy")}
    (out,), (into,) = policies["to-adapters"]["egress"], policies["adapters"]["ingress"]
    assert out["ports"] == into["ports"] == [{"protocol": "TCP", "port": parse(["adapter", "echo"])["port"]}]
    assert into["from"] == [{"podSelector": policies["to-adapters"]["podSelector"]}]
    assert selects(policies["adapters"]["podSelector"], labels("scaled", "Deployment", "adapter"))
    assert not selects(policies["stores"]["podSelector"], labels("scaled", "Deployment", "adapter"))
    assert not selects(policies["vendors"]["podSelector"], labels("scaled", "Job", "migrate"))


@pytest.mark.parametrize("name", ["gateway", "admin", "adapter"])
def test_replicas_are_spread_kept_and_rolled_without_a_gap(name):
    deployment = find("scaled", "Deployment", name)["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    spread = {each["topologyKey"]: each for each in deployment["template"]["spec"]["topologySpreadConstraints"]}
    assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(selects(each["labelSelector"], labels("scaled", "Deployment", name)) for each in spread.values())
    budget = find("scaled", "PodDisruptionBudget", name)["spec"]
    assert budget["maxUnavailable"] == 1
    assert selects(budget["selector"], labels("scaled", "Deployment", name))


def test_the_gateway_scales_by_requests_in_flight_within_what_a_pod_takes(tmp_path):
    scaler = find("scaled", "HorizontalPodAutoscaler", "gateway")["spec"]
    (metric,) = scaler["metrics"]
    settings = workload_settings("scaled", "Deployment", "gateway", tmp_path)
    takes = settings.gateway.workers * settings.inflight
    assert metric["pods"]["metric"]["name"] == INFLIGHT.name
    assert takes * 0.3 <= int(metric["pods"]["target"]["averageValue"]) <= takes * 0.7
    assert scaler["minReplicas"] >= 2
    assert "replicas" not in find("scaled", "Deployment", "gateway")["spec"]


def test_the_metric_that_it_scales_by_is_one_of_ours():
    values = yaml.safe_load((ROOT / "infra/kubernetes/prometheus-adapter.yaml").read_text())
    (rule,) = values["rules"]["custom"]
    for query in (rule["seriesQuery"], rule["metricsQuery"]):
        assert f'{INFLIGHT.name}{{plane="gateway"' in query
    assert "plane" in INFLIGHT.labels
    assert rule["name"]["as"] == INFLIGHT.name


def test_both_planes_are_scraped():
    (monitor,) = of_kind("scaled", "ServiceMonitor")
    selector = monitor["spec"]["selector"]
    (expression,) = selector["matchExpressions"]
    services = [
        each
        for each in of_kind("scaled", "Service")
        if selects(selector, each["metadata"]["labels"])
        and each["metadata"]["labels"][expression["key"]] in expression["values"]
    ]
    ports = {port["name"] for each in services for port in each["spec"]["ports"]}
    assert {each["port"] for each in monitor["spec"]["endpoints"]} == ports == {"gateway", "admin"}
    assert {each["path"] for each in monitor["spec"]["endpoints"]} == {"/metrics"}


def test_the_alerts_find_what_is_scraped():
    """An alert that asks for a job must find it, whoever scrapes: here the job is a label of the service."""
    (monitor,) = of_kind("scaled", "ServiceMonitor")
    label = monitor["spec"]["jobLabel"]
    given = {each["metadata"]["name"]: each["metadata"]["labels"][label] for each in of_kind("scaled", "Service")}
    files = [ROOT / "infra/monitoring/prometheus.yml", ROOT / "infra/compose/prometheus.yml"]
    named = {job["job_name"] for file in files for job in yaml.safe_load(file.read_text())["scrape_configs"]}
    rules = "".join(path.read_text() for path in (ROOT / "infra/monitoring/rules").glob("*.yml"))
    asked = re.findall(r'job=~"([^"]+)"', rules)
    assert asked
    for job in {given["gateway"], given["admin"], *named}:
        assert all(re.fullmatch(pattern, job) for pattern in asked), job


def test_the_documents_command_gives_the_operator_every_rule(tmp_path):
    text = (ROOT / "infra/kubernetes/README.md").read_text()
    (command,) = re.findall(r"^```sh\n# alerts\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "kubectl").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "kubectl").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        check=True,
    )
    objects = [each for each in yaml.safe_load_all(done.stdout) if each is not None]
    files = {path.stem: path for path in (ROOT / "infra/monitoring/rules").glob("*.yml")}
    assert {each["metadata"]["name"].removeprefix("llm-gateway-") for each in objects} == files.keys()
    for each in objects:
        assert each["kind"] == "PrometheusRule"
        assert each["spec"] == yaml.safe_load(files[each["metadata"]["name"].removeprefix("llm-gateway-")].read_text())


def test_the_documents_arithmetic_is_that_of_the_code():
    text = (ROOT / "infra/kubernetes/README.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (\d+) \|$", text, flags=re.MULTILINE))
    parts = [int(seconds) for what, seconds in rows.items() if "needed" not in what and "Grace" not in what]
    assert sum(parts) == int(re.search(r"\*\*needed\*\* \| \*\*(\d+)\*\*", text)[1])
    assert parts[1:] == [Settings().drain_s, STOP_S - 1, 1]
    assert int(rows["`terminationGracePeriodSeconds`"]) >= sum(parts)
