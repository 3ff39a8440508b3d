#!/usr/bin/env python3
"""Generates dashboards/*.json from sources/*.yml; with --check only reports whether they are up to date.

A source has `title`, `description`, `variables` (name: query) and `rows` of `panels`. A panel has `title`, `description`,
`unit` and `queries` (legend: expression), and may have `kind` (timeseries, stat, gauge, table, heatmap, logs), `width`
(of 24) and `height`, `thresholds` (colour: lower bound; null is the lowest), `decimals`, `stack`.
"""

import json
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
RUNBOOK = "https://github.com/tickbell/tickbell/blob/main/RUNBOOK.md"
# The user chooses between Prometheus, with the last days, and VictoriaMetrics, with a year.
METRICS = {"type": "prometheus", "uid": "${datasource}"}
LOGS = {"type": "grafana-opensearch-datasource", "uid": "logs"}
GRAFANA = {"type": "grafana", "uid": "-- Grafana --"}
HEIGHTS = {"stat": 4, "gauge": 4, "logs": 12}


def main() -> int:
    """Writes or checks the dashboards; returns status 1 if one is stale."""
    wanted = {f"{source.stem}.json": render(source) for source in sorted((HERE / "sources").glob("*.yml"))}
    folder = HERE / "dashboards"
    existing = {path.name: path.read_text() for path in folder.glob("*.json")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in wanted.keys() | existing.keys() if wanted.get(name) != existing.get(name))
        print("\n".join(f"{name} is stale: run `make monitoring`" for name in stale))
        return 1 if stale else 0
    for name in existing.keys() - wanted.keys():
        (folder / name).unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text)
    return 0


def render(source: Path) -> str:
    """Returns the dashboard of a source as Grafana reads it."""
    definition = yaml.safe_load(source.read_text())
    document = {
        "uid": f"tickbell-{source.stem}",
        "title": f"Tickbell / {definition['title']}",
        "description": definition["description"],
        "tags": ["tickbell"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": links(),
        "annotations": {"list": [firing_alerts()]},
        "templating": {"list": [datasource(), *(variable(*item) for item in definition.get("variables", {}).items())]},
        "panels": layout(definition["rows"]),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def links() -> list[dict]:
    """Returns the links to the other dashboards, with the same time and variables, and to the runbook."""
    others = {"type": "dashboards", "tags": ["tickbell"], "title": "Tickbell", "asDropdown": False, "icon": "dashboard"}
    runbook = {"type": "link", "title": "Runbook", "url": RUNBOOK, "icon": "doc", "targetBlank": True}
    return [{**others, "includeVars": True, "keepTime": True}, runbook]


def firing_alerts() -> dict:
    """Returns the annotation that marks pages in every graph."""
    return {
        "name": "Pages",
        "enable": True,
        "iconColor": "red",
        "datasource": METRICS,
        "expr": 'ALERTS{alertstate="firing", severity="page"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{component}}",
        "step": "60s",
    }


def datasource() -> dict:
    """Returns the variable that selects the store of metrics."""
    return {
        "name": "datasource",
        "label": "metrics",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "prometheus"},
    }


def variable(name: str, query: str) -> dict:
    """Returns a variable of label values, with all of them selected by default."""
    return {
        "name": name,
        "type": "query",
        "datasource": METRICS,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def layout(rows: list[dict]) -> list[dict]:
    """Places rows from the top and panels from the left; each line is as high as its highest panel."""
    panels, y = [], 0
    for row in rows:
        position = {"h": 1, "w": 24, "x": 0, "y": y}
        panels.append({"type": "row", "title": row["title"], "collapsed": False, "gridPos": position, "panels": []})
        x, y, line = 0, y + 1, 0
        for definition in row["panels"]:
            width = definition.get("width", 12)
            height = definition.get("height", HEIGHTS.get(definition.get("kind"), 8))
            if x + width > 24:
                x, y, line = 0, y + line, 0
            panels.append({**panel(definition), "gridPos": {"h": height, "w": width, "x": x, "y": y}})
            x, line = x + width, max(line, height)
        y += line
    return [{"id": number, **item} for number, item in enumerate(panels, start=1)]


def panel(definition: dict) -> dict:
    """Returns a panel without its position."""
    kind = definition.get("kind", "timeseries")
    source = LOGS if kind == "logs" else METRICS
    return {
        "type": kind,
        "title": definition["title"],
        "description": definition["description"],
        "datasource": source,
        "targets": [target(kind, source, *item) for item in enumerate(definition["queries"].items())],
        "fieldConfig": {"defaults": field(kind, definition), "overrides": []},
        "options": options(kind, definition),
    }


def target(kind: str, source: dict, number: int, query: tuple[str, str]) -> dict:
    """Returns a query of a panel."""
    legend, expression = query
    made = {"refId": "ABCDEFGH"[number], "datasource": source}
    if kind == "logs":
        return {**made, "query": expression, "metrics": [{"type": "logs", "id": "1"}], "timeField": "@timestamp"}
    made |= {"expr": expression, "legendFormat": legend or "__auto", "editorMode": "code", "range": kind != "table"}
    if kind == "table":
        made |= {"instant": True, "format": "table"}
    if kind == "heatmap":
        made |= {"format": "heatmap"}
    return made


def field(kind: str, definition: dict) -> dict:
    """Returns the display of values: their unit, thresholds and line style."""
    steps = [{"color": colour, "value": at} for colour, at in definition.get("thresholds", {}).items()]
    if not steps or steps[0]["value"] is not None:
        steps.insert(0, {"color": "green", "value": None})
    made = {"unit": definition["unit"], "thresholds": {"mode": "absolute", "steps": steps}}
    if "decimals" in definition:
        made["decimals"] = definition["decimals"]
    if definition["unit"] == "percentunit":
        made |= {"min": 0} | ({"max": 1} if kind == "gauge" else {})
    if kind == "timeseries":
        made["color"] = {"mode": "palette-classic"}
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if definition.get("stack") else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if definition.get("stack") else "none"},
            "thresholdsStyle": {"mode": "line" if "thresholds" in definition else "off"},
        }
        made.setdefault("min", 0)
    elif kind in ("stat", "gauge"):
        made["color"] = {"mode": "thresholds"}
    return made


def options(kind: str, definition: dict) -> dict:
    """Returns the options of a kind of panel."""
    last = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return {
        "timeseries": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max", "lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {**last, "colorMode": "value" if "thresholds" in definition else "none", "graphMode": "area"},
        "gauge": {**last, "showThresholdMarkers": True},
        "table": {"showHeader": True},
        "heatmap": {
            "calculate": False,
            "yAxis": {"unit": definition["unit"]},
            "cellGap": 1,
            "color": {"scheme": "Blues"},
        },
        "logs": {"showTime": True, "wrapLogMessage": True, "sortOrder": "Descending", "enableLogDetails": True},
    }[kind]


if __name__ == "__main__":
    sys.exit(main())
