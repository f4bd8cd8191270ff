"""The manifests of the region: real objects, and every image, command, setting, port and volume that they name is there."""

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest_daemon.contract.settings import SECTIONS
from ingest_daemon.reception.settings import DaemonSettings
from ingest_daemon.stores.settings import StoreSettings
from pipelines import settings
from pipelines.cli.main import main

ROOT = Path(__file__).parents[2]
REGION = ROOT / "deploy" / "region"
KUSTOMIZATION = yaml.safe_load((REGION / "kustomization.yaml").read_text())
OF_AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}
"""What object stores take from the environment, whoever reads it."""

Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    return [found for name in KUSTOMIZATION["resources"] for found in yaml.safe_load_all((REGION / name).read_text())]


MANIFESTS = manifests()
every_manifest = pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=[f"{found['kind']} {found['metadata']['name']}" for found in MANIFESTS]
)


def named(kind: str, name: str) -> Manifest:
    (found,) = [found for found in MANIFESTS if (found["kind"], found["metadata"]["name"]) == (kind, name)]
    return found


def pods(value: Any) -> Iterator[Manifest]:
    """The pods of a manifest: whatever has containers."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for part in value.values():
            yield from pods(part)
    elif isinstance(value, list):
        for part in value:
            yield from pods(part)


PODS = list(pods(MANIFESTS))
CONTAINERS = [container for pod in PODS for container in pod["containers"]]
DAEMON = named("StatefulSet", "mainflow-daemon")["spec"]


def test_every_manifest_is_applied_and_each_name_stands_for_one() -> None:
    assert {path.name for path in REGION.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    names = [(found["kind"], found["metadata"]["name"]) for found in MANIFESTS]
    assert len(names) == len(set(names))
    assert not any("namespace" in found["metadata"] for found in MANIFESTS), "the namespace is whoever applies them to say"


@every_manifest
def test_a_manifest_is_valid_by_the_schemas_of_kubernetes(manifest: Manifest) -> None:
    if manifest["apiVersion"].startswith("ray.io/"):
        pytest.skip("a resource of KubeRay: its schema is not among those of Kubernetes")
    validate = pytest.importorskip("kubernetes_validate", reason="no schemas of Kubernetes: pip install kubernetes-validate")
    validate.validate(manifest, "1.30", strict=True)


def test_the_settings_are_those_that_the_code_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tomllib.loads((REGION / "site.toml").read_text())
    waited_for = {(section, key) for section, keys in {"store": {"lake"}, "figures": {"engine"}}.items() for key in keys}
    known = {(section, item.name) for section, kind in SECTIONS.items() for item in fields(kind)}
    if missing := waited_for - known:
        pytest.skip(f"not in this version yet: {', '.join(f'[{section}] {key}' for section, key in sorted(missing))}")
    monkeypatch.setenv("MAINFLOW_STORE_SHARE", "mainflow-daemon-0")
    if not importlib.util.find_spec("ray"):  # which the image has
        monkeypatch.setenv("MAINFLOW_FIGURES_ENGINE", "processes")
    (tmp_path / "site.toml").write_bytes((REGION / "site.toml").read_bytes())
    loaded = settings.load(tmp_path)
    assert (loaded[StoreSettings].kind, loaded[DaemonSettings].bind) == ("lake", "0.0.0.0")
    assert given["figures"]["ray_address"] == f"ray://{named('RayCluster', 'mainflow')['metadata']['name']}-head-svc:10001"


def test_what_stands_in_the_environment_is_a_setting() -> None:
    known = {f"MAINFLOW_{section}_{item.name}".upper() for section, kind in SECTIONS.items() for item in fields(kind)}
    known |= {"MAINFLOW_SITE", "MAINFLOW_STORE_SHARE", *OF_AWS}
    lines = (REGION / "secrets.env.example").read_text().splitlines()
    secrets = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert not any(secrets.values()), "an example holds no secret"
    given = {*secrets, *(variable["name"] for container in CONTAINERS for variable in container.get("env", []))}
    assert given <= known
    assert KUSTOMIZATION["secretGenerator"] == [{"name": "mainflow-secrets", "envs": ["secrets.env"]}]
    assert all(container["envFrom"] == [{"secretRef": {"name": "mainflow-secrets"}}] for container in CONTAINERS)


def test_every_image_is_built_by_a_file_of_the_project() -> None:
    (image,) = {container["image"] for container in CONTAINERS}
    dockerfile = (REGION / "Dockerfile").read_text()
    assert f"docker build -f deploy/region/Dockerfile -t {image} ." in dockerfile
    (base,) = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert f"-t {base} ." in (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.mark.parametrize("container", CONTAINERS, ids=[container["name"] for container in CONTAINERS])
def test_every_command_is_a_program_or_module_that_exists(container: Manifest) -> None:
    words = container.get("command", [])
    if not words:
        assert container["name"] in ("ray-head", "ray-worker"), "KubeRay starts these itself"
    elif words[0] == "python":
        assert words[1] == "-m" and importlib.util.find_spec(words[2])
    else:
        assert words[0] == "mainflow" and words[1] in main.commands
    if words:
        assert words[-2:] == ["--site", "/site"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/site", "/site/site.toml", "/site/registry"} == mounts


def test_ports_are_those_of_the_settings_and_only_the_two_of_meters_are_open_to_the_world() -> None:
    defaults = DaemonSettings()
    ports = {"data": defaults.data_port, "alarm": defaults.alarm_port}
    (daemon,) = DAEMON["template"]["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in daemon["ports"]} == ports
    for name in ("mainflow-daemon", "mainflow-meters"):
        service = named("Service", name)["spec"]
        assert {port["name"]: port["port"] for port in service["ports"]} == ports
        assert service["selector"].items() <= DAEMON["template"]["metadata"]["labels"].items()
    open_ones = [found["metadata"]["name"] for found in MANIFESTS if found["spec"].get("type") in ("LoadBalancer", "NodePort")]
    assert open_ones == ["mainflow-meters"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert f"http://127.0.0.1:{defaults.health_port}/healthz" in daemon[probe]["exec"]["command"][-1]


def test_each_daemon_keeps_its_journal_and_its_name_and_one_at_a_time_goes() -> None:
    (claim,) = DAEMON["volumeClaimTemplates"]
    (daemon,) = DAEMON["template"]["spec"]["containers"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/site"} in daemon["volumeMounts"]
    assert set(DAEMON["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    assert DAEMON["serviceName"] == named("Service", "mainflow-daemon")["metadata"]["name"]
    share = next(variable for variable in daemon["env"] if variable["name"] == "MAINFLOW_STORE_SHARE")
    assert share["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    budget = named("PodDisruptionBudget", "mainflow-daemon")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, DAEMON["selector"])
    journal_mb = tomllib.loads((REGION / "site.toml").read_text())["daemon"]["journal_mb"]
    assert journal_mb < 1024 * int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))


def test_every_volume_and_map_that_a_pod_mounts_is_declared() -> None:
    claims = {found["metadata"]["name"] for found in MANIFESTS if found["kind"] == "PersistentVolumeClaim"}
    maps = {made["name"] for made in KUSTOMIZATION["configMapGenerator"]}
    for pod in PODS:
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for volume in pod.get("volumes", []):
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {*claims, None}
            assert volume.get("configMap", {}).get("name") in {*maps, None}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes | {"site"}
    assert all((REGION / name).is_file() for made in KUSTOMIZATION["configMapGenerator"] for name in made["files"])


def test_two_runs_never_write_the_marts_at_once() -> None:
    figures = named("CronJob", "mainflow-figures")["spec"]
    assert figures["concurrencyPolicy"] == "Forbid"
    assert named("PersistentVolumeClaim", "mainflow-figures")["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize("pod", PODS, ids=[pod["containers"][0]["name"] for pod in PODS])
def test_a_pod_runs_as_the_user_of_the_image_and_not_as_root(pod: Manifest) -> None:
    (uid,) = re.findall(r"--uid (\d+)", (ROOT / "deploy" / "Dockerfile").read_text())
    assert pod["securityContext"]["runAsUser"] == int(uid)
    assert pod["securityContext"]["runAsNonRoot"] is True
