"""What the official NATS chart renders from infra/nats/values.yaml, as far as the checks read it.

No package registry has the chart, so this stands in for it wherever a check runs without the network; `make
check-cluster` renders the chart itself, and fails where the two differ.
"""

import json
from functools import cache

import project
import yaml

# The version that infra/nats/values.yaml installs, and the images that its side containers have in that version.
VERSION = "2.14.2"
RELOADER = "natsio/nats-server-config-reloader:0.23.0"
EXPORTER = "natsio/prometheus-nats-exporter:0.20.1"
NATS = project.ROOT / "infra/nats"
SELECTOR = {f"app.kubernetes.io/{key}": "nats" for key in ("component", "instance", "name")}
# The folders of the containers.
CONFIG, CERTIFICATES, AUTHORITY = "/etc/nats-config", "/etc/nats-certs", "/etc/nats-ca-cert"


@cache
def values() -> dict:
    """Returns the values that the project gives the chart."""
    return yaml.safe_load((NATS / "values.yaml").read_text())


def merged(value: object, patch: object) -> object:
    """Returns a value with a merge patch (RFC 7386), as the chart applies each `merge`."""
    if not isinstance(patch, dict):
        return patch
    found = dict(value) if isinstance(value, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), inner)
    return found


def tls(protocol: str) -> dict:
    """Returns the tls section of a protocol. The authority is only in it with `tlsCA`."""
    folder = f"{CERTIFICATES}/{protocol}"
    own = values()["config"][protocol]["tls"]
    found = {"cert_file": f"{folder}/tls.crt", "key_file": f"{folder}/tls.key"}
    if values().get("tlsCA", {}).get("enabled"):
        found["ca_file"] = f"{AUTHORITY}/{values()['tlsCA'].get('key', 'ca.crt')}"
    return merged(found, own.get("merge", {}))


def configuration() -> dict:
    """Returns nats.conf. A text between << and >> stands in it without quotes."""
    config = values()["config"]
    store = config["jetstream"]
    found = {
        "server_name": "<< $SERVER_NAME >>",
        "lame_duck_grace_period": "10s",
        "lame_duck_duration": "30s",
        "pid_file": "/var/run/nats/nats.pid",
        "port": 4222,
        "http_port": 8222,
        "tls": tls("nats"),
        "cluster": {
            "name": "nats",
            "port": 6222,
            "no_advertise": True,
            "routes": [f"tls://nats-{number}.nats-headless:6222" for number in range(config["cluster"]["replicas"])],
            "tls": tls("cluster"),
        },
        "jetstream": merged(
            {
                "max_memory_store": f"<< {store['memoryStore']['maxSize']} >>",
                "store_dir": "/data",
                "max_file_store": f"<< {store['fileStore']['maxSize']} >>",
            },
            store.get("merge", {}),
        ),
    }
    return merged(found, config.get("merge", {}))


def nats_conf() -> str:
    """Returns the text of nats.conf."""
    config = configuration()
    includes = [f"include {config.pop(key)};" for key in sorted(config) if key.endswith("$include")]
    body = json.dumps(config, indent=2).replace('"<< ', "").replace(' >>"', "")
    return "\n".join(["{", *includes, body[1:]]) + "\n"


def side_container(key: str, base: dict) -> list[dict]:
    own = values().get(key, {})
    return [merged(base, own.get("merge", {}))]


def pod() -> dict:
    """Returns the spec of the StatefulSet's pods."""
    given = values()
    image, tag = given["container"]["image"]["repository"], given["container"]["image"]["tag"]
    mounts = [("config", CONFIG), ("pid", "/var/run/nats"), ("nats-js", "/data")]
    volumes: list[dict] = [{"name": "config", "configMap": {"name": "nats-config"}}, {"name": "pid", "emptyDir": {}}]
    if authority := given.get("tlsCA", {}):
        mounts.append(("tls-ca", AUTHORITY))
        volumes.append({"name": "tls-ca", "secret": {"secretName": authority["secretName"]}})
    for protocol in ("nats", "cluster"):
        mounts.append((f"{protocol}-tls", f"{CERTIFICATES}/{protocol}"))
        secret = given["config"][protocol]["tls"]["secretName"]
        volumes.append({"name": f"{protocol}-tls", "secret": {"secretName": secret}})
    mounted = [{"name": name, "mountPath": path} for name, path in mounts]
    probe = {"initialDelaySeconds": 10, "timeoutSeconds": 5, "successThreshold": 1, "failureThreshold": 3}
    server = {
        "name": "nats",
        "image": f"{image}:{tag}",
        "args": ["--config", f"{CONFIG}/nats.conf"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "SERVER_NAME", "value": "$(POD_NAME)"},
            *({"name": name, **source} for name, source in sorted(given["container"]["env"].items())),
        ],
        "ports": [
            {"name": name, "containerPort": port}
            for name, port in (("nats", 4222), ("cluster", 6222), ("monitor", 8222))
        ],
        "lifecycle": {"preStop": {"exec": {"command": ["nats-server", "-sl=ldm=/var/run/nats/nats.pid"]}}},
        "startupProbe": probe | health("/healthz", 10) | {"failureThreshold": 90},
        "readinessProbe": probe | health("/healthz?js-server-only=true", 10),
        "livenessProbe": probe | health("/healthz?js-enabled-only=true", 30),
        "volumeMounts": mounted,
    }
    # The reloader watches every file that the configuration reads.
    watched = ["nats.conf", "users.conf"]
    files = [f"{CONFIG}/{name}" for name in watched] + watched_certificates()
    reloader = {
        "name": "reloader",
        "image": RELOADER,
        "args": ["-pid", "/var/run/nats/nats.pid", *(word for file in files for word in ("-config", file))],
        "volumeMounts": [mount for mount in mounted if mount["mountPath"].startswith("/etc/")]
        + [{"name": "pid", "mountPath": "/var/run/nats"}],
    }
    exporter = {
        "name": "prom-exporter",
        "image": EXPORTER,
        "args": ["-port=7777", "-connz", "-routez", "-subz", "-varz", "-prefix=nats", "-use_internal_server_id"]
        + ["-jsz=all", "http://localhost:8222/"],
        "ports": [{"name": "prom-metrics", "containerPort": 7777}],
    }
    spec = {
        "containers": [
            merged(server, given["container"].get("merge", {})),
            *side_container("reloader", reloader),
            *side_container("promExporter", exporter),
        ],
        "enableServiceLinks": False,
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": 60,
        "topologySpreadConstraints": [
            {"topologyKey": key, "labelSelector": {"matchLabels": SELECTOR}, **rule}
            for key, rule in given["podTemplate"]["topologySpreadConstraints"].items()
        ],
        "volumes": volumes,
    }
    return merged(spec, given["podTemplate"]["merge"]["spec"])


def health(path: str, period: int) -> dict:
    return {"httpGet": {"path": path, "port": "monitor"}, "periodSeconds": period}


def watched_certificates() -> list[str]:
    files = [list(tls(protocol).values()) for protocol in ("cluster", "nats")]
    return list(dict.fromkeys(sorted(file for group in files for file in group)))


def normal(spec: dict) -> dict:
    """Returns a pod's spec without the order of what has names, and of the files that the reloader watches."""
    found = json.loads(json.dumps(spec))
    for container in found["containers"]:
        for key in ("volumeMounts", "ports", "env"):
            container[key] = sorted(container.get(key, []), key=lambda item: item["name"])
        if container["name"] == "reloader":
            container["args"] = sorted(set(container["args"]))
    found["containers"].sort(key=lambda item: item["name"])
    found["volumes"].sort(key=lambda item: item["name"])
    return found
