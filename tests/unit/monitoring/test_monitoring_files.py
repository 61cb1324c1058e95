"""What `infra/monitoring` asks of Prometheus exists here, under these names and labels."""

import json
import re
from pathlib import Path

import pytest
import yaml
from documents.promql import names_in
from servers.promtool import promtool

from app.observability.metrics import FAMILIES

REPOSITORY = Path(__file__).parents[3]
MONITORING = REPOSITORY / "infra/monitoring"
RULE_FILES = sorted((MONITORING / "rules").glob("*.yml"))
SCRAPED = frozenset({"instance", "job"})
"""The labels that Prometheus itself adds."""


def rules():
    return [
        rule for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def panels():
    dashboard = json.loads((MONITORING / "grafana/llm-gateway.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries():
    """Every query of the dashboard, with Grafana's variables filled in."""
    found = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    return [
        (title, re.sub(r"\$(instance|model|provider)\b", ".*", expr.replace("$__rate_interval", "5m")))
        for title, expr in found
    ]


def known():
    """Every series that may exist: name and labels."""
    series = {"up": SCRAPED}
    for family in FAMILIES:
        labels = SCRAPED | set(family.labels)
        if family.kind == "histogram":
            series[f"{family.name}_bucket"] = labels | {"le"}
            series[f"{family.name}_count"] = series[f"{family.name}_sum"] = labels
        else:
            series[family.name] = labels
    for rule in rules():
        if "record" in rule:
            series[rule["record"]] = frozenset(rule["labels"])
    return series


EXPRESSIONS = [
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()),
    *queries(),
]


@pytest.mark.parametrize(
    ("title", "expr"), EXPRESSIONS, ids=[f"{at} {name}" for at, (name, _) in enumerate(EXPRESSIONS)]
)
def test_every_query_names_what_exists(title, expr):
    series, named = known(), names_in(expr)
    for name, labels in named.selectors:
        assert name in series, f"{title}: there is no {name}"
        assert labels <= series[name], f"{title}: {name} has no {labels - series[name]}"
    if named.selectors:
        possible = frozenset().union(*(series[name] for name, _ in named.selectors))
        assert named.groupings <= possible, f"{title}: nothing has {named.groupings - possible}"


@pytest.mark.parametrize(
    ("expr", "selectors", "groupings"),
    [
        ('sum by (a, b) (rate(x_total{c="d{e}",f!~"g"}[5m])) > 0.5', [("x_total", {"c", "f"})], {"a", "b"}),
        ("up == 0", [("up", set())], set()),
        ("a:b:c / on(slo) (14.4 * d) or vector(0)", [("a:b:c", set()), ("d", set())], {"slo"}),
        ("histogram_quantile(0.9, sum by (le) (rate(y_bucket[1d] offset 1h)))", [("y_bucket", set())], {"le"}),
    ],
)
def test_the_reader_of_queries_finds_names(expr, selectors, groupings):
    assert names_in(expr) == (selectors, groupings)


def test_bounds_that_rules_ask_for_are_bounds_of_ours():
    bounds = {f"{family.name}_bucket": set(map(str, family.buckets)) for family in FAMILIES if family.buckets}
    asked = [found for rule in rules() for found in re.findall(r'(\w+_bucket)\{[^}]*le="([^"]+)"', rule["expr"])]
    assert asked
    assert [(name, bound) for name, bound in asked if bound not in bounds[name]] == []


def test_every_metric_is_on_the_dashboard():
    shown = {name for _, expr in queries() for name, _ in names_in(expr).selectors}
    missing = [
        family.name for family in FAMILIES if not shown & {family.name, f"{family.name}_bucket", f"{family.name}_count"}
    ]
    assert missing == []


def test_the_dashboard_is_whole():
    dashboard = json.loads((MONITORING / "grafana/llm-gateway.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] and panel["targets"] for panel in panels())
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    assert set(re.findall(r"\$\{?([a-z]+)\b", text)) <= variables
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query":
            [(metric, label)] = re.findall(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", each["definition"])
            assert label in known()[metric]


def anchor(alert):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()


@pytest.mark.parametrize("alert", alerts(), ids=[rule["alert"] for rule in alerts()])
def test_every_alert_says_what_to_do_and_is_tested(alert):
    name, said = alert["alert"], alert["annotations"]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert said["summary"]
    assert said["description"]
    file, _, fragment = said["runbook_url"].partition("#")
    assert fragment == anchor(name)
    headings = re.findall(r"^##+ (.+)$", (REPOSITORY / file).read_text(), flags=re.MULTILINE)
    assert fragment in headings
    fires = re.findall(
        rf"alertname=\"{name}\", alertstate=\"firing\"[^\n]*\n\s+eval_time: \w+\n\s+exp_samples: \[\{{labels",
        "".join(path.read_text() for path in (MONITORING / "tests").glob("*.yml")),
    )
    assert fires, f"nothing shows that {name} fires"


def test_prometheus_takes_the_files():
    done = promtool(["check", "config", MONITORING / "prometheus.yml"])
    assert done.returncode == 0, done


@pytest.mark.timeout(300)
def test_the_alerts_fire_when_they_should_and_only_then():
    done = promtool(["test", "rules", *sorted((MONITORING / "tests").glob("*.yml"))])
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.mark.timeout(300)
def test_a_rule_that_is_wrong_is_found(tmp_path):
    """That the proof above can fail: an alert that waits for three times as much no longer fires in time."""
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
        for path in (MONITORING / folder).glob("*.yml"):
            text = path.read_text().replace("> (14.4 *", "> (90 *").replace("> 60\n", "> 180\n")
            (tmp_path / folder / path.name).write_text(text)
    done = promtool(["test", "rules", tmp_path / "tests/alerts.yml"])
    assert done.returncode == 1
    assert b"GatewayAvailabilityBurnsFast" in done.stdout + done.stderr


def test_every_query_of_the_dashboard_is_promql(tmp_path):
    made = [{"record": f"checked:{at}", "expr": expr} for at, (_, expr) in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))
    done = promtool(["check", "rules", tmp_path / "rules.yml"])
    assert done.returncode == 0, done.stderr.decode()
