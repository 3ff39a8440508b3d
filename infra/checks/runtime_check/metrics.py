"""The metrics that a healthy system must expose, because a dashboard or a rule reads them."""

import re

import project

from runtime_check.processes.namespaces import Failure

# What a price-ingestor exposes for each symbol that it follows at an exchange, and what there is only with an archive or with
# Kafka. No exchange is reached here, nothing is archived, and no bridge runs.
NOT_HERE = ("tickbell_feed_", "tickbell_archive_", "tickbell_history_months_waiting_for_archive", "tickbell_kafka_")


def read_by_monitoring() -> set[str]:
    """Returns the metrics of our own that a file under infra/monitoring names and that are there without exchange, archive and Kafka."""
    words: set[str] = set()
    for file in (project.ROOT / "infra/monitoring").rglob("*"):
        if file.suffix in (".json", ".yaml", ".yml"):
            words |= set(re.findall(r"\btickbell_\w+", file.read_text()))
    return {name for name in words & project.own_metrics() if not name.startswith(NOT_HERE)}


def exposed(page: str) -> set[str]:
    """Returns the metric names of a page in Prometheus' text format."""
    return set(re.findall(r"^(\w+)[{ ]", page, re.MULTILINE))


def compare(pages: dict[str, str]) -> str:
    """Returns how many metrics were found as text; fails if one is missing."""
    for service, page in pages.items():
        if "tickbell_build_info" not in exposed(page):
            raise Failure(f"/metrics of {service} has no tickbell_build_info")
        if re.search(r"^tickbell_broker_sync_always(\{.*\})? 0", page, re.MULTILINE):
            raise Failure(f"{service} reports that the broker acknowledges before it syncs to disk")
    wanted = read_by_monitoring()
    found = set().union(*(exposed(page) for page in pages.values()))
    if missing := sorted(wanted - found):
        raise Failure(f"dashboards or rules read metrics that no service exposes: {', '.join(missing)}")
    return f"{len(found & project.own_metrics())} metrics of our own, {len(wanted)} of them read by monitoring"
