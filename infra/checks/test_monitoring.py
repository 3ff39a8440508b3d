"""The monitoring files are valid, and all that they name is there: metrics, roles, data sources, runbook sections."""

import json
import re
import sys
from functools import cache
from itertools import chain

import house
import pytest
import yaml
from promql import metrics_of

FOLDER = house.ROOT / "infra/monitoring"
RULE_FILES = sorted((FOLDER / "rules").glob("*.yml"))
TEST_FILES = sorted((FOLDER / "rules/tests").glob("*.yml"))
DASHBOARDS = sorted((FOLDER / "grafana/dashboards").glob("*.json"))
# The repository's page; every alert's runbook_url is a section of it.
RUNBOOK = "https://github.com/tickbell/tickbell/blob/main/RUNBOOK.md"
# Roles that production does not run, or that are no longer there when Prometheus comes (a CronJob's).
NOT_ALWAYS_THERE = {"coinnews"}
# Labels that come from the scrape, or from what a histogram is.
SCRAPED = {"namespace", "role", "instance", "le"}
UNITS = {"short", "none", "ops", "reqps", "s", "percent", "percentunit", "bytes", "Bps", "bool_yes_no"}
# A marker that Debian's Prometheus 2 and the Prometheus 3 of the images disagree about: 1 and 1.0.
WHOLE_LE = re.compile(r'\ble\s*=~?\s*"\d+(\.0)?"')


@cache
def rules() -> list[dict]:
    groups = chain.from_iterable(yaml.safe_load(path.read_text())["groups"] for path in RULE_FILES)
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def known_metrics() -> set[str]:
    """Ours, those of the exporters' list, and what recording rules make."""
    listed = chain.from_iterable(exporter["metrics"] for exporter in exporters())
    return house.own_metrics() | set(listed) | {rule["record"] for rule in rules() if "record" in rule}


@cache
def used_metrics() -> set[str]:
    """Every metric that a rule or a dashboard asks for."""
    asked = [rule["expr"] for rule in rules()] + [expression for _, expression in dashboard_queries()]
    return set().union(*map(metrics_of, asked))


def exporters() -> list[dict]:
    return yaml.safe_load((FOLDER / "exporters.yml").read_text())["exporters"]


def dashboards() -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard: dict) -> list[dict]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[tuple[str, str]]:
    """Where a PromQL expression of a dashboard stands, and the expression."""
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


# The tokenizer itself: everything below rests on it.
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


def test_prometheus_takes_its_configuration_and_every_rule():
    house.output(house.tool("promtool"), "check", "config", FOLDER / "prometheus/prometheus.yml")
    house.output(house.tool("promtool"), "check", "rules", "--lint=all", *RULE_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_do_what_their_unit_tests_say(path):
    house.output(house.tool("promtool"), "test", "rules", path)


def test_every_alert_has_a_test_that_rings_and_one_that_does_not():
    rings, quiet = set(), set()
    for path in TEST_FILES:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for case in group["alert_rule_test"]:
                (rings if case["exp_alerts"] else quiet).add(case["alertname"])
                told = "fires" if case["exp_alerts"] else "is quiet"
                assert group["name"].startswith(f"{case['alertname']} {told}"), f"{path.name}: {group['name']}"
    assert rings == set(alerts()), "alerts without a test that fires, or tests without an alert"
    assert quiet == set(alerts()), "alerts without a test that stays quiet, or tests without an alert"


def test_alert_names_are_unique():
    names = [rule["alert"] for rule in rules() if "alert" in rule]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_how_bad_what_and_what_to_do(name):
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"page", "warning"}
    assert re.fullmatch("[a-z]+", rule["labels"]["component"])
    notes = rule["annotations"]
    assert notes["summary"] and len(notes["summary"]) < 140 and not notes["summary"].endswith(".")
    assert notes["description"].rstrip().endswith(".")
    assert notes["runbook_url"] == f"{RUNBOOK}#{name.lower()}"


def test_the_runbook_has_a_section_for_every_alert():
    runbook = house.ROOT / "RUNBOOK.md"
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


def test_rules_and_dashboards_choose_by_labels_that_are_recorded():
    # An alert on a label that nobody records would be quiet for ever.
    for expression in [*(rule["expr"] for rule in rules()), *(query for _, query in dashboard_queries())]:
        for name, chosen in re.findall(r"\b(tickbell_\w+)\{([^}]*)\}", expression):
            recorded = house.own_labels().get(re.sub("_(bucket|sum|count)$", "", name), set())
            unknown = set(re.findall(r"(\w+) *[=!]", chosen)) - recorded - SCRAPED
            assert not unknown, f"{name} has no label {unknown}: {expression}"


def test_the_list_of_exporters_holds_what_is_used_and_nothing_else():
    for exporter in exporters():
        assert exporter["version"] and exporter["seen"], exporter["name"]
        unused = set(exporter["metrics"]) - used_metrics() - {"ALERTS"}
        assert not unused, f"{exporter['name']}: nothing uses {unused}"


def test_every_metric_of_ours_is_on_a_dashboard_or_in_a_rule():
    suffix = re.compile("_(bucket|sum|count)$")
    ours = {suffix.sub("", name) for name in house.own_metrics()}
    assert not ours - {suffix.sub("", name) for name in used_metrics()}


def test_whole_numbers_of_buckets_are_written_for_both_prometheus_versions():
    for where, expression in [*((r.get("alert") or r["record"], r["expr"]) for r in rules()), *dashboard_queries()]:
        assert not WHOLE_LE.search(expression), f'{where}: write le=~"1(\\\\.0)?"'


def test_every_role_is_scraped_and_missed():
    configuration = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    job = next(job for job in configuration["scrape_configs"] if job["job_name"] == "tickbell")
    scraped = {static["labels"]["role"]: static["targets"] for static in job["static_configs"]}
    assert scraped == {role: [f"{role}:8081"] for role in {*house.roles(), "coinnews", "price-poller"}}
    missed = set(re.findall(r'role="([\w-]+)"', alerts()["ServiceAbsent"]["expr"]))
    assert missed == set(house.roles()) - NOT_ALWAYS_THERE


def test_jobs_that_rules_name_are_jobs():
    configuration = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"] for job in configuration["scrape_configs"]}
    named = set()
    for expression in [*(rule["expr"] for rule in rules()), *(expression for _, expression in dashboard_queries())]:
        for names in re.findall(r'\bjob[=!]~?"([^"]+)"', expression):
            named |= set(names.split("|"))
    assert named and named <= jobs


@pytest.mark.parametrize("name", ["alertmanager.yml", "compose.yml"])
def test_alertmanager_takes_its_configuration(name):
    house.output(house.tool("amtool"), "check-config", FOLDER / "alertmanager" / name)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=page", "incident"),
        ("severity=warning", "slack"),
        ("severity=critical", "slack"),
        ("severity=info", "nobody"),
    ],
)
def test_an_alert_goes_to_who_must_act(labels, receiver):
    path = FOLDER / "alertmanager/alertmanager.yml"
    assert (
        house.output(house.tool("amtool"), "config", "routes", "test", f"--config.file={path}", labels).strip()
        == receiver
    )


def test_compose_routes_and_inhibits_as_production_does():
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
    house.output(sys.executable, FOLDER / "grafana/generate.py", "--check")


def test_dashboards_have_uids_and_titles_of_their_own():
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in dashboards().values()]
        assert len(values) >= 6 and len(values) == len(set(values))


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_panel_says_what_it_shows_in_which_unit_and_lies_beside_the_others(name):
    dashboard = dashboards()[name]
    taken: set[tuple[int, int]] = set()
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(titles) == len(set(titles))
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies upon another"
        taken |= cells
    for panel in panels(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]


def test_dashboards_ask_data_sources_that_are_provisioned():
    provisioned = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/datasources.yml").read_text())[
        "datasources"
    ]
    types = {source["uid"]: source["type"] for source in provisioned}
    assert len(types) == len(provisioned)
    for name, dashboard in dashboards().items():
        chosen = next(item for item in dashboard["templating"]["list"] if item["name"] == "datasource")
        assert types[chosen["current"]["value"]] == chosen["query"]
        for panel in panels(dashboard):
            for asked in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
                known = types | {"${datasource}": chosen["query"]}
                assert known.get(asked["uid"]) == asked["type"], f"{name}: {panel['title']} asks {asked}"


def test_variables_of_dashboards_are_declared():
    for name, dashboard in dashboards().items():
        declared = {variable["name"] for variable in dashboard["templating"]["list"]}
        told = json.dumps([panels(dashboard), dashboard["templating"]])
        # What begins with two underscores is Grafana's own.
        named = {variable for variable in re.findall(r"\$\{?(\w+)", told) if not variable.startswith("__")}
        assert named <= declared, f"{name}: {named - declared}"
        assert declared <= named | {"datasource"}, f"{name}: nothing uses {declared - named}"


def test_the_fields_of_our_log_lines_are_those_that_are_shipped():
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
    """The first line that the program logs when there is no broker."""
    environment = {"PATH": "/usr/bin:/bin", "TICKBELL_TELEMETRY__LOG_FORMAT": "json"}
    said = house.run(
        "timeout", "2", house.tickbell(), "price-ingestor", "--nats-url", "nats://127.0.0.1:1", env=environment
    )
    return json.loads(said.stderr.splitlines()[0])


def fluent_bit(name: str) -> dict:
    return yaml.safe_load((FOLDER / "fluent-bit" / name).read_text())


def test_logs_are_shipped_from_compose_as_from_the_cluster():
    compose, cluster = fluent_bit("compose.yaml"), fluent_bit("kubernetes.yaml")
    assert compose["service"] == cluster["service"]
    assert compose["pipeline"]["filters"][-2:] == cluster["pipeline"]["filters"][-2:]
    signed = {"tls", "tls.verify", "aws_auth", "aws_region"}
    (here,), (there,) = compose["pipeline"]["outputs"], cluster["pipeline"]["outputs"]
    assert here == {key: value for key, value in there.items() if key not in signed} and signed <= there.keys()
    for told in (compose, cluster):
        parsers = {parser["name"] for parser in told["parsers"]} | {"cri"}
        used = [part for part in told["pipeline"]["inputs"] + told["pipeline"]["filters"] if "parser" in part]
        assert {part["parser"] for part in used} <= parsers


def test_what_is_shipped_falls_under_the_template_and_the_retention():
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
    told = yaml.safe_load((FOLDER / "otel/collector.yaml").read_text())
    assert set(told["service"]["extensions"]) == set(told["extensions"])
    used: dict[str, set] = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline in told["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter" and pipeline["processors"][-1] == "batch"
        for kind, names in used.items():
            names |= set(pipeline[kind])
    assert {kind: set(told[kind]) for kind in used} == used


def test_the_long_term_store_keeps_a_sample_a_minute_for_a_year_and_more():
    lines = (FOLDER / "victoria-metrics/victoria-metrics.env").read_text().splitlines()
    flags = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert all(key.startswith("VM_") for key in flags)
    assert int(flags["VM_retentionPeriod"]) > 12 and flags["VM_dedup_minScrapeInterval"] == "60s"
    source = (FOLDER / "grafana/provisioning/datasources/datasources.yml").read_text()
    assert "timeInterval: 60s" in source
