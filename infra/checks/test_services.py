"""Every service stands in every file that lists services. A new one fails here with the whole list of additions."""

import json
import re
import runpy
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import manifests
import project
import pytest
import yaml


class Listing(NamedTuple):
    """A file that names services one by one."""

    file: str
    # What a service has there, for the message.
    entry: str
    # The services that need the entry.
    needed_by: frozenset[str]
    # Returns the names of the services that have the entry.
    found: Callable[[], set[str]]


@cache
def text(file: str) -> str:
    return (project.ROOT / file).read_text()


@cache
def parsed(file: str) -> dict:
    return yaml.safe_load(text(file))


def matches(file: str, pattern: str) -> Callable[[], set[str]]:
    """Returns a finder of the names that a pattern captures in a file."""
    return lambda: set(re.findall(pattern, text(file), re.MULTILINE))


def role_names(file: str, pattern: str) -> Callable[[], set[str]]:
    """Returns a finder of database roles and variables, which write a service's name with underscores."""
    return lambda: {name.lower().replace("_", "-") for name in matches(file, pattern)()}


def listed(file: str, pattern: str, separator: str) -> Callable[[], set[str]]:
    """Returns a finder of the names in every list that a pattern captures; each name must stand in all lists."""

    def found() -> set[str]:
        lists = [set(re.split(separator, names)) for names in re.findall(pattern, text(file), re.MULTILINE)]
        return set.intersection(*lists)

    return found


def rendered(overlay: str, kind: str) -> Callable[[], set[str]]:
    """Returns a finder of the services for which an overlay renders an object of a kind."""

    def found() -> set[str]:
        objects = manifests.of_kind(manifests.overlay(overlay), kind)
        names = {item["metadata"]["name"] for item in objects}
        return names | {item["metadata"].get("labels", {}).get("app.kubernetes.io/name", "") for item in objects}

    return found


def secrets(overlay: str, kind: str) -> Callable[[], set[str]]:
    """Returns a finder of the services whose Secret `tickbell-<service>` an overlay renders by a kind."""
    return lambda: {name.removeprefix("tickbell-") for name in map(manifests.plain, rendered(overlay, kind)())}


def fill_secrets(name: str) -> Callable[[], set[str]]:
    script = project.ROOT / "infra/terraform/fill-secrets"
    return lambda: set(runpy.run_path(str(script), run_name="fill_secrets")[name])


def chart_schema() -> set[str]:
    services = json.loads(text("k8s/charts/tickbell/values.schema.json"))["properties"]["services"]
    return set(services["properties"]) & set(services["required"])


def scraped() -> set[str]:
    jobs = parsed("infra/monitoring/prometheus/prometheus.yml")["scrape_configs"]
    targets = next(job for job in jobs if job["job_name"] == "tickbell")["static_configs"]
    return {target["labels"]["role"] for target in targets}


EVERY = frozenset(project.services())
PRODUCTION = EVERY - project.DEMO_SERVICES
BROKER = EVERY - project.WITHOUT_BROKER
DATABASE = EVERY - project.WITHOUT_DATABASE
CHART = "k8s/charts/tickbell"
COMPONENTS = "k8s/overlays/components"

LISTINGS = [
    Listing("compose.yaml", "a service", EVERY, lambda: set(parsed("compose.yaml")["services"])),
    Listing(
        "compose.yaml", "NATS_PASSWORD_<SERVICE> of nats", BROKER, role_names("compose.yaml", r"NATS_PASSWORD_(\w+):")
    ),
    Listing("infra/nats/users.conf", "a user", BROKER, matches("infra/nats/users.conf", r"user: ([\w-]+)")),
    Listing(
        project.ROLES_SQL, "a role in service_roles", DATABASE, role_names(project.ROLES_SQL, r"'tickbell_(\w+)'[,\]]")
    ),
    Listing("infra/monitoring/prometheus/prometheus.yml", "a target of the job tickbell", EVERY, scraped),
    Listing(
        "infra/monitoring/rules/services.yml",
        "a line of the alert ServiceAbsent",
        PRODUCTION,
        matches("infra/monitoring/rules/services.yml", r'absent\(up\{job="tickbell", role="([\w-]+)"'),
    ),
    Listing(
        "infra/terraform/modules/secrets/main.tf",
        "an entry of local.secrets",
        PRODUCTION,
        matches("infra/terraform/modules/secrets/main.tf", r"^    ([a-z-]+) *= \["),
    ),
    Listing(
        "infra/terraform/modules/secrets/main.tf",
        "NATS_PASSWORD_<SERVICE> of the entry nats",
        BROKER,
        role_names("infra/terraform/modules/secrets/main.tf", r'"NATS_PASSWORD_(\w+)"'),
    ),
    Listing("infra/terraform/fill-secrets", "a name of NATS_USERS", BROKER, fill_secrets("NATS_USERS")),
    Listing(
        "infra/terraform/fill-secrets",
        "a name of SERVICES, which have a database role",
        DATABASE,
        fill_secrets("SERVICES"),
    ),
    Listing("k8s/base/<service>.yaml", "a Deployment", EVERY, rendered("staging", "Deployment")),
    Listing("k8s/base/<service>.yaml", "a ServiceAccount", EVERY, rendered("staging", "ServiceAccount")),
    Listing("k8s/base/<service>.yaml", "a Service with the port admin", EVERY, rendered("staging", "Service")),
    Listing("k8s/base/<service>.yaml", "a PodDisruptionBudget", EVERY, rendered("staging", "PodDisruptionBudget")),
    Listing("k8s/base/<service>.yaml", "a NetworkPolicy", EVERY, rendered("staging", "NetworkPolicy")),
    Listing(
        "k8s/base/kustomization.yaml", "its file under resources", PRODUCTION, rendered("production", "Deployment")
    ),
    Listing(
        "k8s/base/network.yaml",
        "its name in the policy of nats",
        BROKER,
        listed("k8s/base/network.yaml", r"values: \[(price-ingestor, .+)\]", ", "),
    ),
    Listing(
        "k8s/base/network.yaml",
        "its name in the policy of postgres",
        DATABASE,
        listed("k8s/base/network.yaml", r"values: \[(.+, migrate)\]", ", "),
    ),
    Listing(
        f"{COMPONENTS}/managed-postgres/kustomization.yaml",
        "its name in both patches",
        DATABASE,
        listed(f"{COMPONENTS}/managed-postgres/kustomization.yaml", r"name: ([\w-]+(?:\|[\w-]+)+)", r"\|"),
    ),
    Listing(f"{COMPONENTS}/sandbox/kustomization.yaml", "a Secret", PRODUCTION, secrets("local", "Secret")),
    Listing(
        f"{COMPONENTS}/external-secrets/secrets.yaml",
        "an ExternalSecret",
        PRODUCTION,
        secrets("staging", "ExternalSecret"),
    ),
    Listing(
        f"{COMPONENTS}/cloudnative-pg/cluster.yaml",
        "a managed role",
        DATABASE,
        role_names(f"{COMPONENTS}/cloudnative-pg/cluster.yaml", r"- name: tickbell_(\w+)"),
    ),
    Listing(
        f"{COMPONENTS}/cloudnative-pg/secrets.yaml",
        "an ExternalSecret with the password of its role",
        DATABASE,
        matches(f"{COMPONENTS}/cloudnative-pg/secrets.yaml", r"^  name: tickbell-postgres-([a-z-]+)"),
    ),
    Listing(
        f"{CHART}/values.yaml", "an entry of services", EVERY, lambda: set(parsed(f"{CHART}/values.yaml")["services"])
    ),
    Listing(f"{CHART}/values.schema.json", "a property of services, and its name under required", EVERY, chart_schema),
    Listing(
        f"{CHART}/templates/postgres.yaml",
        "its name in the list of roles and in the list of passwords",
        DATABASE,
        listed(f"{CHART}/templates/postgres.yaml", r'range list "(.+)" \}\}', '" "'),
    ),
]


def missing(service: str, listings: list[Listing]) -> str:
    """Returns what a service lacks, one line for each place."""
    lacking = [listing for listing in listings if service not in listing.found()]
    return "".join(f"\n  {listing.file.replace('<service>', service)}: {listing.entry}" for listing in lacking)


def test_every_service_is_everywhere():
    lacking = {
        service: missing(service, [one for one in LISTINGS if service in one.needed_by]) for service in sorted(EVERY)
    }
    message = "".join(f"\n{service} is missing from{lines}" for service, lines in lacking.items() if lines)
    if message:
        hint = "\nA service that needs no broker, no database or no production is named in infra/checks/project.py."
        pytest.fail(message + hint, pytrace=False)


def test_an_optional_service_is_known_to_the_servers_and_the_chart():
    # Its pods are rendered only where somebody adds them; the comparison of the chart with Kustomize has these.
    of_pods = ("k8s/base/", "infra/monitoring/", f"{COMPONENTS}/sandbox/", f"{COMPONENTS}/external-secrets/")
    listings = [one for one in LISTINGS if not one.file.startswith(of_pods)]
    for service in project.OPTIONAL_SERVICES:
        assert not missing(service, listings), f"{service} is missing from{missing(service, listings)}"


def test_an_unknown_service_is_missing_from_every_file():
    # A finder that always succeeds would hide what a new service lacks.
    assert missing("new-service", LISTINGS).count("\n") == len(LISTINGS)


def test_the_list_of_services_is_that_of_the_folders():
    assert project.services() == project.folders_of_services()


def test_services_without_a_server_are_services():
    assert project.DEMO_SERVICES | project.WITHOUT_BROKER | project.WITHOUT_DATABASE <= EVERY
