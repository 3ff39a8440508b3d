"""Which metrics a healthy Tickbell must show, because a dashboard or a rule reads them."""

import re

import house

from wiring.corner import Failure


def read_by_monitoring() -> set[str]:
    """Metrics of our own that a file under infra/monitoring names."""
    words: set[str] = set()
    for file in (house.ROOT / "infra/monitoring").rglob("*"):
        if file.suffix in (".json", ".yaml", ".yml"):
            words |= set(re.findall(r"\btickbell_\w+", file.read_text()))
    return words & house.own_metrics()


def shown(page: str) -> set[str]:
    """The names of a page in Prometheus' text format."""
    return set(re.findall(r"^(\w+)[{ ]", page, re.MULTILINE))


def compare(pages: dict[str, str]) -> str:
    """Says how many metrics were found; fails where one is missing."""
    for role, page in pages.items():
        if "tickbell_build_info" not in shown(page):
            raise Failure(f"/metrics of {role} has no tickbell_build_info")
        if re.search(r"^tickbell_broker_sync_always(\{.*\})? 0", page, re.MULTILINE):
            raise Failure(f"{role} says that the broker acknowledges before it flushes")
    wanted = read_by_monitoring()
    found = set().union(*(shown(page) for page in pages.values()))
    if missing := sorted(wanted - found):
        raise Failure(f"dashboards or rules read metrics that no role shows: {', '.join(missing)}")
    return f"{len(found & house.own_metrics())} metrics of our own, {len(wanted)} of them read by monitoring"
