"""The monitoring files are valid, and what they name exists: metrics, services, data sources, runbook sections."""

import json
import re
import sys
from functools import cache
from itertools import chain

import project
import pytest
import yaml
from promql import metrics_of

FOLDER = project.ROOT / "infra/monitoring"
RULE_FILES = sorted((FOLDER / "rules").glob("*.yml"))
TEST_FILES = sorted((FOLDER / "rules/tests").glob("*.yml"))
DASHBOARDS = sorted((FOLDER / "grafana/dashboards").glob("*.json"))
# The runbook's page in the repository; every alert's runbook_url is a section of it.
RUNBOOK = "https://github.com/tickbell/tickbell/blob/main/RUNBOOK.md"
# Labels that the scrape adds, or that histograms have.
SCRAPED = {"namespace", "role", "instance", "le"}
UNITS = {"short", "none", "ops", "reqps", "s", "percent", "percentunit", "bytes", "Bps", "bool_yes_no"}
# The bound of a bucket that Debian's Prometheus 2 writes as 1 and the Prometheus 3 of the images as 1.0.
WHOLE_LE = re.compile(r'\ble\s*=~?\s*"\d+(\.0)?"')


@cache
def rules() -> list[dict]:
    groups = chain.from_iterable(yaml.safe_load(path.read_text())["groups"] for path in RULE_FILES)
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def known_metrics() -> set[str]:
    """Returns our metrics, those of the exporters, and those of recording rules."""
    listed = chain.from_iterable(exporter["metrics"] for exporter in exporters())
    return project.own_metrics() | set(listed) | {rule["record"] for rule in rules() if "record" in rule}


@cache
def used_metrics() -> set[str]:
    """Returns every metric that a rule or a dashboard queries."""
    expressions = [rule["expr"] for rule in rules()] + [expression for _, expression in dashboard_queries()]
    return set().union(*map(metrics_of, expressions))


def exporters() -> list[dict]:
    return yaml.safe_load((FOLDER / "exporters.yml").read_text())["exporters"]


def dashboards() -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard: dict) -> list[dict]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[tuple[str, str]]:
    """Returns every PromQL expression of the dashboards, with its location."""
    found = []
    for file, dashboard in dashboards().items():
        for panel in panels(dashboard):
            found += [(f"{file}: {panel['title']}", target["expr"]) for target in panel["targets"] if "expr" in target]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                selector = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
                assert selector, f"{file}: variable {variable['name']} is not label_values(selector, label)"
                found.append((f"{file}: variable {variable['name']}", selector[1]))
    return found


# The tokenizer itself, because the tests below depend on it.
@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (
            'sum by (le, venue) (rate(a_total{venue!~"x|y{"}[5m] offset 1h)) / on (b) group_left (c) d:e:f > 1e3',
            "a_total d:e:f",
        ),
        ('histogram_quantile(0.9, h_bucket) or absent(up{job="a"}) and time() - -x_seconds', "h_bucket up x_seconds"),
        ("min_over_time(a:b[1h:5m] @ end()) unless on (w) c_total == bool 0x1f # not_this", "a:b c_total"),
        ('0 * sum(a{b="c"}) without (d) ^ 2', "a"),
        ('predict_linear(a{namespace=~"$namespace"}[$__rate_interval], 86400) < 14.4 * 0.001', "a"),
    ],
)
def test_metric_names_are_found_in_promql(expression, names):
    assert metrics_of(expression) == set(names.split())


def test_prometheus_accepts_its_configuration_and_every_rule():
    project.output(project.tool("promtool"), "check", "config", FOLDER / "prometheus/prometheus.yml")
    project.output(project.tool("promtool"), "check", "rules", "--lint=all", *RULE_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_pass_their_unit_tests(path):
    project.output(project.tool("promtool"), "test", "rules", path)


def test_every_alert_has_a_test_that_fires_and_one_that_stays_quiet():
    firing, quiet = set(), set()
    for path in TEST_FILES:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for case in group["alert_rule_test"]:
                (firing if case["exp_alerts"] else quiet).add(case["alertname"])
                expected = "fires" if case["exp_alerts"] else "is quiet"
                assert group["name"].startswith(f"{case['alertname']} {expected}"), f"{path.name}: {group['name']}"
    assert firing == set(alerts()), "alerts without a test that fires, or tests without an alert"
    assert quiet == set(alerts()), "alerts without a test that stays quiet, or tests without an alert"


def test_alert_names_are_unique():
    names = [rule["alert"] for rule in rules() if "alert" in rule]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_has_a_severity_a_summary_and_a_runbook_section(name):
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"page", "warning"}
    assert re.fullmatch("[a-z]+", rule["labels"]["component"])
    annotations = rule["annotations"]
    assert annotations["summary"] and len(annotations["summary"]) < 140 and not annotations["summary"].endswith(".")
    assert annotations["description"].rstrip().endswith(".")
    assert annotations["runbook_url"] == f"{RUNBOOK}#{name.lower()}"


def test_the_runbook_has_a_section_for_every_alert():
    runbook = project.ROOT / "RUNBOOK.md"
    assert runbook.is_file(), "RUNBOOK.md is not written yet"
    sections = set(re.findall(r"^### (\w+)$", runbook.read_text(), re.MULTILINE))
    assert not set(alerts()) - sections, "alerts without a section `### Name`"


def test_rules_name_only_metrics_that_exist():
    for rule in rules():
        unknown = metrics_of(rule["expr"]) - known_metrics()
        assert not unknown, f"{rule.get('alert') or rule['record']}: {unknown}"


def test_dashboards_name_only_metrics_that_exist():
    for where, expression in dashboard_queries():
        unknown = metrics_of(expression) - known_metrics()
        assert not unknown, f"{where}: {unknown}"


def test_rules_and_dashboards_select_by_labels_that_are_recorded():
    # An alert on a label that is never recorded would never fire.
    for expression in [*(rule["expr"] for rule in rules()), *(query for _, query in dashboard_queries())]:
        for name, matchers in re.findall(r"\b(tickbell_\w+)\{([^}]*)\}", expression):
            recorded = project.own_labels().get(re.sub("_(bucket|sum|count)$", "", name), set())
            unknown = set(re.findall(r"(\w+) *[=!]", matchers)) - recorded - SCRAPED
            assert not unknown, f"{name} has no label {unknown}: {expression}"


def test_the_list_of_exporters_contains_exactly_the_metrics_in_use():
    for exporter in exporters():
        assert exporter["version"] and exporter["seen"], exporter["name"]
        unused = set(exporter["metrics"]) - used_metrics() - {"ALERTS"}
        assert not unused, f"{exporter['name']}: nothing uses {unused}"


def test_every_metric_of_ours_is_on_a_dashboard_or_in_a_rule():
    suffix = re.compile("_(bucket|sum|count)$")
    ours = {suffix.sub("", name) for name in project.own_metrics()}
    assert not ours - {suffix.sub("", name) for name in used_metrics()}


def test_whole_numbers_of_buckets_are_written_for_both_prometheus_versions():
    for where, expression in [*((r.get("alert") or r["record"], r["expr"]) for r in rules()), *dashboard_queries()]:
        assert not WHOLE_LE.search(expression), f'{where}: write le=~"1(\\\\.0)?"'


def test_every_service_is_scraped_and_its_absence_alerts():
    configuration = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    job = next(job for job in configuration["scrape_configs"] if job["job_name"] == "tickbell")
    scraped = {static["labels"]["role"]: static["targets"] for static in job["static_configs"]}
    assert scraped == {service: [f"{service}:8081"] for service in {*project.services(), "price-poller"}}
    watched = set(re.findall(r'role="([\w-]+)"', alerts()["ServiceAbsent"]["expr"]))
    assert watched == set(project.services()) - project.DEMO_SERVICES


def test_jobs_that_rules_name_are_scraped():
    configuration = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"] for job in configuration["scrape_configs"]}
    named = set()
    for expression in [*(rule["expr"] for rule in rules()), *(expression for _, expression in dashboard_queries())]:
        for names in re.findall(r'\bjob[=!]~?"([^"]+)"', expression):
            named |= set(names.split("|"))
    assert named and named <= jobs


@pytest.mark.parametrize("name", ["alertmanager.yml", "compose.yml"])
def test_alertmanager_accepts_its_configuration(name):
    project.output(project.tool("amtool"), "check-config", FOLDER / "alertmanager" / name)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=page", "incident"),
        ("severity=warning", "slack"),
        ("severity=critical", "slack"),
        ("severity=info", "nobody"),
    ],
)
def test_an_alert_goes_to_the_receiver_of_its_severity(labels, receiver):
    path = FOLDER / "alertmanager/alertmanager.yml"
    assert (
        project.output(project.tool("amtool"), "config", "routes", "test", f"--config.file={path}", labels).strip()
        == receiver
    )


def test_compose_routes_and_inhibits_like_production():
    production, compose = (alertmanager(name) for name in ("alertmanager.yml", "compose.yml"))
    for part in ("route", "inhibit_rules", "templates"):
        assert production[part] == compose[part]
    assert [it["name"] for it in production["receivers"]] == [it["name"] for it in compose["receivers"]]


def test_inhibitions_name_alerts_and_components_that_exist():
    components = {rule["labels"]["component"] for rule in alerts().values()}
    for rule in alertmanager("alertmanager.yml")["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            label, values = re.fullmatch(r'(\w+) =~? "?([^"]+)"?', matcher).groups()
            known = {"alertname": set(alerts()), "component": components, "severity": {"page", "warning"}}.get(label)
            for value in values.split("|") if known else []:
                assert any(re.fullmatch(value, name) for name in known), f"{matcher}: nothing is called {value}"


def test_no_secret_is_written_into_alertmanager():
    text = (FOLDER / "alertmanager/alertmanager.yml").read_text()
    inline = r"^\s*-?\s*(api_url|api_key|url|routing_key|service_key|password|\w*token|smtp_auth_\w+):\s*(\S+)"
    written = [value for _, value in re.findall(inline, text, re.MULTILINE)]
    assert written == ["https://api.atlassian.com/jsm/ops/integration/"]
    assert set(re.findall(r"(\w+_file):", text)) == {"api_url_file", "api_key_file"}


def alertmanager(name: str) -> dict:
    return yaml.safe_load((FOLDER / "alertmanager" / name).read_text())


def test_dashboards_are_what_the_generator_writes():
    project.output(sys.executable, FOLDER / "grafana/generate.py", "--check")


def test_dashboards_have_distinct_uids_and_titles():
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in dashboards().values()]
        assert len(values) >= 6 and len(values) == len(set(values))


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_panel_has_a_description_and_a_unit_and_does_not_overlap(name):
    dashboard = dashboards()[name]
    taken: set[tuple[int, int]] = set()
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles))
    for panel in dashboard["panels"]:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        cells = {(position["x"] + x, position["y"] + y) for x in range(position["w"]) for y in range(position["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another"
        taken |= cells
    for panel in panels(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]


def test_dashboards_query_data_sources_that_are_provisioned():
    provisioned = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/datasources.yml").read_text())[
        "datasources"
    ]
    types = {source["uid"]: source["type"] for source in provisioned}
    assert len(types) == len(provisioned)
    for name, dashboard in dashboards().items():
        chosen = next(item for item in dashboard["templating"]["list"] if item["name"] == "datasource")
        assert types[chosen["current"]["value"]] == chosen["query"]
        for panel in panels(dashboard):
            for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
                known = types | {"${datasource}": chosen["query"]}
                assert known.get(source["uid"]) == source["type"], f"{name}: {panel['title']} queries {source}"


def test_variables_of_dashboards_are_declared():
    for name, dashboard in dashboards().items():
        declared = {variable["name"] for variable in dashboard["templating"]["list"]}
        text = json.dumps([panels(dashboard), dashboard["templating"]])
        # Names with two leading underscores are Grafana's own.
        named = {variable for variable in re.findall(r"\$\{?(\w+)", text) if not variable.startswith("__")}
        assert named <= declared, f"{name}: {named - declared}"
        assert declared <= named | {"datasource"}, f"{name}: nothing uses {declared - named}"


def test_fluent_bit_parses_the_fields_of_our_log_lines():
    line = log_line()
    for name in ("compose.yaml", "kubernetes.yaml"):
        parser = next(it for it in fluent_bit(name)["parsers"] if it["name"] == "tickbell")
        assert parser["time_key"] in line and parser["format"] == "json"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line[parser["time_key"]])
        assert parser["time_format"] == "%Y-%m-%dT%H:%M:%S.%LZ"
    mapped = json.loads((FOLDER / "opensearch/index-template.json").read_text())["template"]["mappings"]["properties"]
    assert line.keys() - {"timestamp"} >= {"level", "message", "target"}
    assert mapped.keys() >= {"@timestamp", "role", "environment", "level", "message", "target", "error"}


def log_line() -> dict:
    """Returns the first line that the program logs without a broker."""
    environment = {"PATH": "/usr/bin:/bin", "TICKBELL_TELEMETRY__LOG_FORMAT": "json"}
    done = project.run(
        "timeout", "2", project.tickbell(), "price-ingestor", "--nats-url", "nats://127.0.0.1:1", env=environment
    )
    return json.loads(done.stderr.splitlines()[0])


def fluent_bit(name: str) -> dict:
    return yaml.safe_load((FOLDER / "fluent-bit" / name).read_text())


def test_compose_and_the_cluster_ship_logs_alike():
    compose, cluster = fluent_bit("compose.yaml"), fluent_bit("kubernetes.yaml")
    assert compose["service"] == cluster["service"]
    assert compose["pipeline"]["filters"][-2:] == cluster["pipeline"]["filters"][-2:]
    signed = {"tls", "tls.verify", "aws_auth", "aws_region"}
    (local,), (remote,) = compose["pipeline"]["outputs"], cluster["pipeline"]["outputs"]
    assert local == {key: value for key, value in remote.items() if key not in signed} and signed <= remote.keys()
    for configuration in (compose, cluster):
        parsers = {parser["name"] for parser in configuration["parsers"]} | {"cri"}
        used = [
            part
            for part in configuration["pipeline"]["inputs"] + configuration["pipeline"]["filters"]
            if "parser" in part
        ]
        assert {part["parser"] for part in used} <= parsers


def test_shipped_indices_match_the_template_and_the_retention_policy():
    prefix = fluent_bit("compose.yaml")["pipeline"]["outputs"][0]["logstash_prefix"]
    template = json.loads((FOLDER / "opensearch/index-template.json").read_text())
    policy = json.loads((FOLDER / "opensearch/retention-policy.json").read_text())["policy"]
    assert template["index_patterns"] == [f"{prefix}-*"] == policy["ism_template"][0]["index_patterns"]
    states = {state["name"] for state in policy["states"]}
    assert policy["default_state"] in states
    assert {step["state_name"] for state in policy["states"] for step in state["transitions"]} <= states
    source = (FOLDER / "grafana/provisioning/datasources/datasources.yml").read_text()
    assert f"database: {prefix}-*" in source


def test_the_collector_uses_what_it_declares_and_limits_memory_first():
    configuration = yaml.safe_load((FOLDER / "otel/collector.yaml").read_text())
    assert set(configuration["service"]["extensions"]) == set(configuration["extensions"])
    used: dict[str, set] = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline in configuration["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter" and pipeline["processors"][-1] == "batch"
        for kind, names in used.items():
            names |= set(pipeline[kind])
    assert {kind: set(configuration[kind]) for kind in used} == used


def test_the_long_term_store_retains_one_sample_a_minute_for_over_a_year():
    lines = (FOLDER / "victoria-metrics/victoria-metrics.env").read_text().splitlines()
    flags = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert all(key.startswith("VM_") for key in flags)
    assert int(flags["VM_retentionPeriod"]) > 12 and flags["VM_dedup_minScrapeInterval"] == "60s"
    source = (FOLDER / "grafana/provisioning/datasources/datasources.yml").read_text()
    assert "timeInterval: 60s" in source
