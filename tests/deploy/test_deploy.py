"""The files of a deployment: checked by the programs that read them, and held against what the server has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from app.api.wire.server import KEEP_ALIVE_SECONDS
from app.engine.stream import CutReason
from app.messages import FinishReason
from app.metrics import Metrics
from tests.deploy.image import parse

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "config" / "prometheus"
KUBERNETES = ROOT / "config" / "kubernetes"
ALERTS = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())["groups"][0]["rules"]
RECORDED = yaml.safe_load((PROMETHEUS / "rules" / "recording.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "config" / "grafana" / "dashboards" / "millrace.json").read_text())


def check(program: str, *arguments: str) -> str:
    """What the program says; it is skipped where it is missing, and must end with 0."""
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_dockerfile_is_clean() -> None:
    check("hadolint", "Dockerfile")


def test_compose_reads_its_file() -> None:
    services = yaml.safe_load(check("docker-compose", "--profile", "*", "config"))["services"]
    assert set(services) == {"millrace", "millrace-gpu", "prometheus", "grafana"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert not service["image"].endswith(":latest") or "build" in service


@pytest.mark.parametrize(("profile", "server"), [((), "millrace"), (("--profile", "gpu"), "millrace-gpu")])
def test_compose_starts_one_server(profile: tuple[str, ...], server: str) -> None:
    services = set(check("docker-compose", *profile, "config", "--services").split())
    assert services == {server, "prometheus", "grafana"}


def test_prometheus_reads_its_rules() -> None:
    check("promtool", "check", "rules", *map(str, (PROMETHEUS / "rules").glob("*.yml")))
    check("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_every_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    check("promtool", "test", "rules", str(PROMETHEUS / "tests.yml"))
    tests = yaml.safe_load((PROMETHEUS / "tests.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    tested = {(case["alertname"], bool(case["exp_alerts"])) for case in cases}
    assert tested == {(alert["alert"], fires) for alert in ALERTS for fires in (True, False)}


def test_kubernetes_would_take_the_manifests(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(check("kubectl", "kustomize", "config/kubernetes"))
    check("kubernetes-validate", "--strict", "-k", "1.34", str(manifests))


def test_the_autoscaler_is_given_the_mean_queue_of_each_pod(tmp_path: Path) -> None:
    """The query as the Prometheus adapter fills it in, for two pods of which one has a queue."""
    [rule] = yaml.safe_load((KUBERNETES / "monitoring" / "adapter.yaml").read_text())["rules"]["custom"]
    name = rule["seriesQuery"].partition("{")[0]
    filled = {"Series": name, "LabelMatchers": 'namespace="default",pod=~"a|b"', "GroupBy": "pod"}
    query = re.sub(r"<<\.(\w+)>>", lambda match: filled[match[1]], rule["metricsQuery"])
    pods = {"a": ("6 4 8 4 8", 6), "b": ("0x4", 0)}
    world = {
        "interval": "15s",
        "input_series": [
            {"series": f'{name}{{namespace="default",pod="{pod}"}}', "values": values}
            for pod, (values, _) in pods.items()
        ],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "60s",
                "exp_samples": [{"labels": f'{{pod="{pod}"}}', "value": mean} for pod, (_, mean) in pods.items()],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [world]}))
    check("promtool", "test", "rules", str(tmp_path / "test.yml"))
    scaling = yaml.safe_load_all((KUBERNETES / "scaling.yaml").read_text())
    [metric] = next(one["spec"]["metrics"] for one in scaling if one["kind"] == "HorizontalPodAutoscaler")
    assert metric["pods"]["metric"]["name"] == name


def test_nginx_closes_an_idle_connection_before_the_server_does() -> None:
    [seconds] = re.findall(r"keepalive_timeout (\d+)s;", (ROOT / "config" / "nginx.conf").read_text())
    assert int(seconds) < KEEP_ALIVE_SECONDS


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    exposed = {family.name for family in Metrics().registry.collect()}
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    asked = " ".join([*panels, *(rule["expr"] for rule in (*ALERTS, *RECORDED))])
    names = set(re.findall(r"(?<!job:)\bmillrace_\w+", asked))
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names} <= exposed


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """By Grafana's own schema: what it does not know is lost when the dashboard is read and written."""
    register_default_plugins()
    read = Dashboard.from_json(json.loads(json.dumps(DASHBOARD)))
    assert list(lost(DASHBOARD, json.loads(json.dumps(read, cls=JSONEncoder)))) == []


def lost(written: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where what was written is not what was kept; what was added is no matter."""
    if isinstance(written, dict) and isinstance(kept, dict):
        for name, value in written.items():
            yield from lost(value, kept.get(name), f"{path}.{name}")
    elif isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        for index, value in enumerate(written):
            yield from lost(value, kept[index], f"{path}[{index}]")
    elif written != kept:
        yield path


def test_what_is_no_error_in_the_objectives_is_an_end_that_there_is() -> None:
    asked = "".join(rule["expr"] for rule in RECORDED)
    well_ended = set(re.findall(r'finished_reason!~"([^"]+)"', asked))
    assert [set(names.split("|")) < {*FinishReason, *CutReason} for names in well_ended] == [True]


def test_what_the_image_is_made_of_reaches_the_builder() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in parse((ROOT / "Dockerfile").read_text()).values():
        for instruction, rest in stage.instructions:
            if instruction == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    assert any(source == name or source.startswith(f"{name}/") for name in let_in), source
                    assert (ROOT / source).exists()


def test_the_image_installs_the_versions_that_are_tested() -> None:
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "config" / "constraints.txt").read_text(), re.MULTILINE))
    tested = {re.sub(r"[._]", "-", name).lower(): version for name, version in tested.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = project["dependencies"] + project["optional-dependencies"]["otel"]
    assert "triton" not in tested, "torch's build for CUDA, which is the package index's for Linux, asks for its own"
    for lock in ("cpu", "cuda"):
        text = (ROOT / "config" / "requirements" / f"{lock}.txt").read_text()
        locked = dict(re.findall(r"^([\w.-]+)==([^\s+]+)", text, re.MULTILINE))
        assert {re.split("[<>=]", needed)[0] for needed in needs} <= set(locked)
        assert {name: tested[name] for name in locked if name in tested} == {
            name: version for name, version in locked.items() if name in tested
        }


def test_compose_serves_under_no_other_name_than_this_machines_and_its_own() -> None:
    for service in yaml.safe_load(check("docker-compose", "--profile", "*", "config"))["services"].values():
        published = {port["host_ip"] for port in service["ports"]}
        assert published == {"127.0.0.1"}
        if "build" in service:
            assert service["environment"]["MILLRACE_ALLOWED_HOSTS"] == "millrace"
