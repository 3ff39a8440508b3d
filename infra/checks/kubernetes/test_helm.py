"""The Helm charts: `tickbell` renders the same objects as Kustomize, and rejects invalid values."""

import difflib
import json
import os
import re
import shutil
from functools import cache

import manifests
import project
import pytest
import yaml

CHART = project.ROOT / "k8s/charts/tickbell"
COMPONENTS = project.ROOT / "k8s/overlays/components"
# Without a cluster, Helm assumes the version of Kubernetes that it was built for.
KUBERNETES = "1.34.0"
# For laptops: servers and passwords that no chart should contain.
KUSTOMIZE_ONLY = {"sandbox"}

# Values of overlays, none of them a default; CHART_VALUES holds the same under the names of the chart.
OVERLAY_VALUES = {
    "environment": "trial",
    "host": "prices.example.org",
    "colour": "green",
    "gatewayClass": "cilium",
    "ingressNamespace": "cilium-system",
    "issuer": "internal",
    "region": "us-east-2",
    "vault": "https://vault.example.org",
    "loadBalancerCidr": "10.1.0.0/20",
    "databaseCidr": "10.1.16.0/20",
    "certificateArn": "arn:aws:acm:eu-central-1:111122223333:certificate/1",
    "securityGroup": "sg-0123456789abcdef0",
    "webAclArn": "arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/tickbell/1",
    "databaseSize": "7Gi",
    "backups": "s3://trial/postgres",
    "backupRole": "arn:aws:iam::111122223333:role/trial",
}
ALB = "alb.ingress.kubernetes.io/"
CHART_VALUES = {
    "environment": "trial",
    "image": {"tag": "4f6c1b7"},
    "administrator": {"enabled": True},
    "blueGreen": {"active": "green"},
    "externalSecrets": {"aws": {"region": "us-east-2"}, "vault": {"server": "https://vault.example.org"}},
    "postgres": {
        "managed": {"cidr": "10.1.16.0/20"},
        "cloudnativePg": {"size": "7Gi", "backups": "s3://trial/postgres"}
        | {"backupRole": OVERLAY_VALUES["backupRole"]},
    },
    "route": {
        "host": "prices.example.org",
        "ingress": {
            "cidr": "10.1.0.0/20",
            "annotations": {
                f"{ALB}certificate-arn": OVERLAY_VALUES["certificateArn"],
                f"{ALB}security-groups": OVERLAY_VALUES["securityGroup"],
                f"{ALB}wafv2-acl-arn": OVERLAY_VALUES["webAclArn"],
            },
        },
    },
}
GATEWAY_API = {"className": "cilium", "namespace": "cilium-system", "issuer": "internal"}
ON = {"enabled": True}
# The components of Kustomize, each with the values of the chart that correspond to it.
TOGGLES = {
    "coinnews": {"services": {"coinnews": ON}},
    "kafka": {"services": {"kafka-bridge": ON}},
    "external-secrets external-secrets/aws kafka kafka/external-secrets managed-postgres": {
        "externalSecrets": {"store": "aws"},
        "services": {"kafka-bridge": ON},
        "postgres": {"kind": "managed"},
    },
    "real-prices": {
        "services": {"price-ingestor": {"needs": ["nats", "postgres", "https"]}},
        "pricePoller": {"asks": "https"},
    },
    "hpa": {"hpa": ON},
    "keda": {"keda": ON},
    "blue-green": {"blueGreen": ON, "hpa": ON},
    "keda blue-green keda/gateway": {"keda": ON | {"gateway": ON}, "blueGreen": ON, "hpa": ON},
    "hpa argo-rollouts": {"argoRollouts": ON, "hpa": ON},
    "external-secrets external-secrets/aws jetstream": {"externalSecrets": {"store": "aws"}, "jetstream": ON},
    "gateway-api": {"route": {"kind": "gatewayApi", "gatewayApi": GATEWAY_API}},
    "ingress": {"route": {"kind": "ingress"}},
    "external-secrets external-secrets/aws": {"externalSecrets": {"store": "aws"}},
    "external-secrets external-secrets/vault": {"externalSecrets": {"store": "vault"}},
    "external-secrets external-secrets/aws cloudnative-pg": {
        "externalSecrets": {"store": "aws"},
        "postgres": {"kind": "cloudnativePg"},
    },
    "managed-postgres": {"postgres": {"kind": "managed"}},
    "monitoring": {"monitoring": ON},
    "telemetry": {"telemetry": ON},
}


def merged(first: dict, second: dict) -> dict:
    """Merges two trees of values; the second wins."""
    both = {
        key: merged(first[key], second[key]) for key in first.keys() & second.keys() if isinstance(first[key], dict)
    }
    return first | second | both


def template(*arguments: object, values: dict | None = None, chart: object = CHART):
    """Returns the result of `helm template` with values."""
    return templated(yaml.safe_dump(values or {}), chart, *arguments)


@cache
def templated(values: str, chart: object, *arguments: object):
    command = [project.tool("helm"), "template", "tickbell", chart, "--namespace", "tickbell"]
    return project.run(*command, "--kube-version", KUBERNETES, *arguments, "--values", "-", stdin=values)


def rendered(*arguments: object, values: dict | None = None) -> list[dict]:
    """Returns the objects that the chart renders from values."""
    done = template(*arguments, values=values)
    assert done.returncode == 0, done.stderr
    return project.documents(done.stdout)


def kustomized(components: list[str], folder) -> list[dict]:
    """Returns the objects of the base with components."""
    pairs = [f"{key}={value}" for key, value in OVERLAY_VALUES.items()]
    local = {"annotations": {"config.kubernetes.io/local-config": "true"}}
    content = {
        "namespace": "tickbell",
        "resources": [os.path.relpath(project.ROOT / "k8s/base", folder)],
        "components": [os.path.relpath(COMPONENTS / path, folder) for path in components],
        "labels": [{"pairs": {"app.kubernetes.io/part-of": "tickbell"}}],
        "images": [
            {"name": "ghcr.io/tickbell/tickbell", "newTag": CHART_VALUES["image"]["tag"]},
            {
                "name": "tickbell-kafka",
                "newName": "ghcr.io/tickbell/tickbell",
                "newTag": f"{CHART_VALUES['image']['tag']}-kafka",
            },
        ],
        "configMapGenerator": [{"name": "values", "literals": pairs, "options": local}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return manifests.build(folder)


# --- The same objects ------------------------------------------------------------------------------------------------

# The hash in the name of the settings, which Kustomize and Helm compute differently.
SETTINGS = re.compile(r"^tickbell-settings-[a-z0-9]{10}$")
# The labels that Helm adds to every object.
HELMS = {"helm.sh/chart", "app.kubernetes.io/managed-by"}
# Lists whose order has no meaning: rules, ports and peers of policies, and items that have names.
SETS = {"ports", "ingress", "egress", "from", "to", "values", "env", "volumes"}


def normal(value: object, key: str = "") -> object:
    """Normalizes a value: only what the three lines above name and the annotations of hooks may differ."""
    if isinstance(value, list):
        items = [normal(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if key in SETS else items
    if isinstance(value, str):
        return SETTINGS.sub("tickbell-settings", value)
    if not isinstance(value, dict):
        return value
    pairs = {name: normal(inner, name) for name, inner in value.items()}
    if key == "labels":
        return {name: text for name, text in pairs.items() if name not in HELMS}
    if key == "metadata" and "annotations" in pairs:
        others = {name: text for name, text in pairs["annotations"].items() if not name.startswith("helm.sh/hook")}
        pairs = {**pairs, "annotations": others} if others else {k: v for k, v in pairs.items() if k != "annotations"}
    return pairs


def comparable(objects: list[dict]) -> dict[str, str]:
    """Returns every object as text, by its kind and name."""
    found = {}
    for item in map(normal, objects):
        name = f"{item['apiVersion']} {manifests.title(item)}"
        assert name not in found, f"{name} is defined twice"
        found[name] = json.dumps(item, sort_keys=True, indent=1)
    return found


def assert_same(kustomize: list[dict], helm: list[dict]) -> None:
    wanted, found = comparable(kustomize), comparable(helm)
    assert len(wanted) >= 40
    assert sorted(found.keys() - wanted.keys()) == [], "only in Helm"
    assert sorted(wanted.keys() - found.keys()) == [], "only in Kustomize"
    for name, text in wanted.items():
        lines = difflib.unified_diff(text.splitlines(), found[name].splitlines(), f"Kustomize: {name}", "Helm", n=4)
        if found[name] != text:
            pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize("name", ["staging", "production"])
def test_helm_and_kustomize_render_the_same_objects(name):
    helm = rendered("--values", CHART / f"values-{name}.yaml", values={"administrator": ON})
    assert_same(manifests.overlay(name), helm)


@pytest.mark.parametrize("components", TOGGLES)
def test_a_component_is_the_same_in_both(components, tmp_path):
    values = merged(CHART_VALUES, TOGGLES[components])
    assert_same(kustomized(components.split(), tmp_path), rendered(values=values))


def test_the_base_is_the_same_in_both():
    assert_same(manifests.build(project.ROOT / "k8s/base"), rendered(values={"administrator": ON}))


def test_every_component_is_compared():
    folders = {path.parent for path in COMPONENTS.rglob("kustomization.yaml")}
    kinds = {path: yaml.safe_load((path / "kustomization.yaml").read_text())["kind"] for path in folders}
    there = {str(path.relative_to(COMPONENTS)) for path, kind in kinds.items() if kind == "Component"}
    assert set(" ".join(TOGGLES).split()) == there - KUSTOMIZE_ONLY


# --- Valid -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "-staging", "-production"])
def test_helm_lint_finds_nothing(name):
    chosen = ["--values", CHART / f"values{name}.yaml"]
    project.output(project.tool("helm"), "lint", "--strict", "--kube-version", KUBERNETES, *chosen, CHART)


def test_every_option_renders_valid_objects(tmp_path):
    toggled = [rendered(values=merged(CHART_VALUES, toggle)) for toggle in TOGGLES.values()]
    distinct = {json.dumps(item, sort_keys=True) for objects in toggled for item in objects}
    manifests.validate([json.loads(text) for text in distinct], tmp_path)


def test_the_package_contains_linked_files(tmp_path):
    project.output(project.tool("helm"), "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.iterdir()
    values = {"jetstream": ON, "monitoring": ON, "administrator": ON}
    done = template(values=values, chart=package)
    kinds = {item["kind"] for item in project.documents(done.stdout)}
    assert {"Stream", "Consumer", "PrometheusRule", "Role"} <= kinds
    assert comparable(project.documents(done.stdout)) == comparable(rendered(values=values))


def test_the_objects_that_migrate_reads_are_created_before_it():
    # Hooks run by weight, and all of them before the rest of the release.
    values = merged(TOGGLES["external-secrets external-secrets/vault"], {"administrator": ON})
    hooks = {manifests.title(item): hook for item in rendered(values=values) if (hook := hook_of(item))}
    job = next(item for item in rendered(values=values) if item["kind"] == "Job")
    pod = manifests.template(job)["spec"]
    needed = [f"ServiceAccount {pod['serviceAccountName']}"]
    for source in pod["containers"][0]["envFrom"]:
        reference = source.get("configMapRef") or source["secretRef"]
        needed.append(f"{'ConfigMap' if 'configMapRef' in source else 'ExternalSecret'} {reference['name']}")
    needed += ["SecretStore tickbell", "ServiceAccount external-secrets"]
    events, weight = hooks.pop("Job migrate")
    assert set(hooks) == set(needed)
    for name, (when, before) in hooks.items():
        assert events <= when and before < weight, name


def hook_of(item: dict) -> tuple[set[str], int] | None:
    """Returns the events and the weight of a hook, or None."""
    annotations = item["metadata"].get("annotations", {})
    if "helm.sh/hook" not in annotations:
        return None
    return set(annotations["helm.sh/hook"].split(",")), int(annotations["helm.sh/hook-weight"])


def test_the_database_of_a_release_is_created_before_migrate():
    values = {"postgres": {"kind": "cloudnativePg"}}
    (job,) = manifests.of_kind(rendered(values=values), "Job")
    assert hook_of(job) == ({"post-install", "pre-upgrade"}, 0)


def test_a_colour_can_run_another_release():
    tags = {"image": {"tag": "new"}, "blueGreen": {"enabled": True, "active": "blue", "tags": {"blue": "old"}}}
    images = {
        item["metadata"]["name"]: manifests.template(item)["spec"]["containers"][0]["image"].rpartition(":")[2]
        for item in manifests.of_kind(rendered(values=tags), "Deployment")
    }
    assert images.pop("gateway-blue") == "old"
    assert images.pop("gateway-green") == "new" and set(images.values()) == {"new"}


# --- Values ----------------------------------------------------------------------------------------------------------


def defaults() -> dict:
    return yaml.safe_load((CHART / "values.yaml").read_text())


def schema() -> dict:
    return json.loads((CHART / "values.schema.json").read_text())


def test_every_service_is_a_service_of_the_chart():
    every = set(project.services()) | project.OPTIONAL_SERVICES
    assert set(defaults()["services"]) == every
    assert set(schema()["properties"]["services"]["properties"]) == every
    assert not [name for name in project.OPTIONAL_SERVICES if defaults()["services"][name]["enabled"]]


def test_values_name_images_ports_and_settings_that_exist():
    values = defaults()
    assert f"{values['image']['repository']}:" in (project.ROOT / "k8s/base/service/deployment.yaml").read_text()
    ports = {service["http"]["port"] for service in values["services"].values() if "http" in service}
    assert ports | {8081} == project.image_ports()
    for name in ("", "-staging", "-production"):
        own = yaml.safe_load((CHART / f"values{name}.yaml").read_text())
        used = set(own["settings"]) | {key for item in own["services"].values() for key in item.get("env", {})}
        assert used - {"COINNEWS_URL"} <= project.setting_variables()


def test_every_value_is_explained():
    # A comment above each value explains it. Exceptions are `enabled`, names that others define (settings, quantities,
    # annotations), and the keys of a service, which are explained once.
    lines = (CHART / "values.yaml").read_text().splitlines()
    inside = 99
    for number, line in enumerate(lines):
        depth, key = len(line) - len(line.lstrip()), line.strip().partition(":")[0]
        if not line or line.lstrip().startswith("#"):
            continue
        inside = inside if depth > inside else 99
        above = lines[number - 1].startswith(" " * depth + "#")
        assert above or depth > inside or key == "enabled", f"values.yaml:{number + 1}: {key} has no comment"
        if key in (
            "settings",
            "tags",
            "resources",
            "annotations",
            "parameters",
            *project.services(),
            *project.OPTIONAL_SERVICES,
        ):
            inside = min(inside, depth)


def test_the_schema_is_closed_everywhere():
    def walk(part: object, where: str) -> None:
        if not isinstance(part, dict):
            return
        if part.get("type") == "object" and where != "/properties/global":
            assert "additionalProperties" in part and part["additionalProperties"] is not True, where
            assert set(part.get("properties", {})) - set(part.get("required", [])) <= OPTIONAL, where
        for key, inner in part.items():
            walk(inner, f"{where}/{key}")

    walk(schema(), "")


# Optional values.
OPTIONAL = {"global", "http", "role", "tagSuffix", "files", "terminationGracePeriodSeconds"}

REFUSED = {
    "an unknown key": ({"services": {"gatway": {}}}, "'gatway' not allowed"),
    "a misspelt key in a service": ({"services": {"gateway": {"replica": 3}}}, "'replica' not allowed"),
    "text for a number": ({"services": {"gateway": {"replicas": "three"}}}, "got string, want integer"),
    "an unknown colour": ({"blueGreen": {"active": "red"}}, "must be one of 'blue', 'green'"),
    "an unknown kind of route": ({"route": {"kind": "loadBalancer"}}, "'none', 'gatewayApi', 'ingress'"),
    "an unknown store": ({"externalSecrets": {"store": "gcp"}}, "'none', 'vault', 'aws'"),
    "an unknown need": ({"services": {"gateway": {"needs": ["redis"]}}}, "/services/gateway/needs/0"),
    "a host that is a URL": ({"route": {"host": "https://a.example"}}, "/route/host"),
    "a number as a setting": ({"settings": {"TICKBELL_GATEWAY__DRAIN_SECONDS": 5}}, "got number, want string"),
    "an unknown setting": ({"settings": {"tickbell_nats__ca": ""}}, "tickbell_nats__ca"),
    "a service that is missing": ({"services": {"notifier": None}}, "missing property 'notifier'"),
    "resources without bounds": ({"migrate": {"resources": {"limits": None}}}, "missing property 'limits'"),
    "two replicas of a stream": ({"jetstream": {"replicas": 2}}, "/jetstream/replicas"),
    "a key of AWS": ({"externalSecrets": {"aws": {"accessKey": "A"}}}, "'accessKey' not allowed"),
    "a role that is none": ({"services": {"archiver": {"role": "archiver"}}}, "/services/archiver/role"),
    "a tag that moves": ({"image": {"tag": "latest"}}, "image.tag: latest moves"),
    "a secret": ({"settings": {"TICKBELL_LINKS__SECRET": "x" * 16}}, "belongs into the Secret"),
    "a secret of a service": (
        {"services": {"notifier": {"env": {"TICKBELL_SMTP__URL": "smtps://a:b@c"}}}},
        "services.notifier.env: TICKBELL_SMTP__URL may hold a password",
    ),
    "two owners of the colours": (merged(TOGGLES["blue-green"], TOGGLES["hpa argo-rollouts"]), "enable one of them"),
    "a Rollout without a size": ({"argoRollouts": ON}, "argoRollouts wants hpa.enabled"),
    "gateways without bounds": ({"keda": {"gateway": ON}}, "keda.gateway wants hpa.enabled"),
    "two autoscalers": (
        merged(
            TOGGLES["keda blue-green keda/gateway"], TOGGLES["hpa argo-rollouts"] | {"blueGreen": {"enabled": False}}
        ),
        "keda.gateway scales Deployments",
    ),
    "a minimum above its maximum": ({"hpa": {"minReplicas": 50}}, "hpa.minReplicas is above hpa.maxReplicas"),
    "a file without a volume": ({"ca": {"configMap": ""}}, "settings.TICKBELL_NATS__CA names a file"),
    "a grace period shorter than the drain": (
        {"services": {"gateway": {"terminationGracePeriodSeconds": 20}}},
        "must be above 30, how long it drains",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_value_is_refused_and_named(what):
    values, answer = REFUSED[what]
    done = template(values=values)
    assert done.returncode != 0 and answer in done.stderr, done.stderr


# --- The chart of monitoring -----------------------------------------------------------------------------------------

MONITORING = project.ROOT / "k8s/charts/monitoring"
SOURCES = project.ROOT / "infra/monitoring"


def monitoring_values(name: str = "") -> dict:
    both = yaml.safe_load((MONITORING / "values.yaml").read_text())
    return merged(both, yaml.safe_load((MONITORING / f"values{name}.yaml").read_text()))


def dependencies() -> list[dict]:
    return yaml.safe_load((MONITORING / "Chart.yaml").read_text())["dependencies"]


@pytest.fixture(scope="session")
def chart_without_dependencies(tmp_path_factory):
    """The chart with empty charts in place of its dependencies, which only the network could provide."""
    folder = tmp_path_factory.mktemp("charts") / "monitoring"
    shutil.copytree(MONITORING, folder)
    for item in dependencies():
        (folder / "charts" / item["name"]).mkdir(parents=True)
        about = {"apiVersion": "v2", "name": item["name"], "version": item["version"]}
        (folder / "charts" / item["name"] / "Chart.yaml").write_text(yaml.safe_dump(about))
    return folder


@pytest.mark.parametrize("name", ["", "-staging"])
def test_our_objects_of_the_monitoring_chart_are_valid(name, chart_without_dependencies, tmp_path):
    chosen = ["--values", chart_without_dependencies / f"values{name}.yaml"]
    project.output(
        project.tool("helm"), "lint", "--strict", "--kube-version", KUBERNETES, *chosen, chart_without_dependencies
    )
    objects = project.documents(template(*chosen, chart=chart_without_dependencies).stdout)
    assert len(objects) >= 10 + len(list((SOURCES / "grafana/dashboards").iterdir()))
    manifests.validate(objects, tmp_path)


def test_dependencies_are_pinned_and_configured():
    for item in dependencies():
        assert re.fullmatch(r"\d+\.\d+\.\d+", item["version"]), item
        assert item["repository"].startswith("https://")
        assert item["name"] in monitoring_values()


def test_configuration_is_that_of_the_monitoring_folder(chart_without_dependencies):
    # The files are links, so that there is no second copy; the rendered objects contain every file whole.
    links = list((MONITORING / "files").iterdir())
    assert links and all(path.is_symlink() and path.resolve().is_relative_to(SOURCES) for path in links)
    texts = set()
    for item in project.documents(template(chart=chart_without_dependencies).stdout):
        texts |= {text.strip() for text in (item.get("data") or item.get("stringData") or {}).values()}
    for link in links:
        wanted = [path for path in link.iterdir() if path.is_file()] if link.is_dir() else [link]
        for path in wanted:
            if path.name not in ("datasources.yml", "victoria-metrics.env"):
                assert path.read_text().strip() in texts, f"{path.name} is not rendered"
    flags = dict(re.findall(r"^(VM_\w+)=(.*)$", (MONITORING / "files/victoria-metrics.env").read_text(), re.MULTILINE))
    assert flags in [item.get("data") for item in project.documents(template(chart=chart_without_dependencies).stdout)]
    assert (
        int(flags["VM_retentionPeriod"]) == monitoring_values()["victoria-metrics-single"]["server"]["retentionPeriod"]
    )


@pytest.mark.parametrize("name", ["", "-staging"])
def test_grafana_finds_every_data_source(name, chart_without_dependencies):
    objects = project.documents(
        template("--values", chart_without_dependencies / f"values{name}.yaml", chart=chart_without_dependencies).stdout
    )
    found = yaml.safe_load(manifests.named(objects, "ConfigMap", "grafana-datasources")["data"]["datasources.yml"])
    wanted = yaml.safe_load((MONITORING / "files/datasources.yml").read_text())
    urls = monitoring_values(name)["datasources"]
    assert {item["uid"] for item in wanted["datasources"]} == set(urls)
    for item in wanted["datasources"]:
        item["url"] = urls[item["uid"]]
    assert found == wanted


def test_dependencies_refer_to_objects_that_exist(chart_without_dependencies):
    made = {manifests.title(item) for item in project.documents(template(chart=chart_without_dependencies).stdout)}
    values = monitoring_values()
    stack, collector = values["kube-prometheus-stack"], values["opentelemetry-collector"]
    referenced = {
        f"Secret {stack['alertmanager']['alertmanagerSpec']['configSecret']}",
        f"Secret {values['prometheus-blackbox-exporter']['configExistingSecretName']}",
        f"ConfigMap {collector['configMap']['existingName']}",
        f"ConfigMap {values['fluent-bit']['existingConfigMap']}",
        f"ConfigMap {values['victoria-metrics-single']['server']['envFrom'][0]['configMapRef']['name']}",
    }
    assert referenced <= made
    # Tickbell sends its traces to this Service.
    endpoint = defaults()["telemetry"]["otlpEndpoint"]
    assert endpoint == f"http://{collector['fullnameOverride']}.monitoring:4318/v1/traces"
    receivers = set(
        re.findall(r"/etc/alertmanager/secrets/([\w-]+)/", (MONITORING / "files/alertmanager.yml").read_text())
    )
    assert receivers == set(stack["alertmanager"]["alertmanagerSpec"]["secrets"])


@pytest.mark.parametrize("name", ["", "-staging"])
def test_configuration_finds_its_variables(name):
    values = monitoring_values(name)
    given = {key: {item["name"] for item in values[key][field]} for key, field in LISTS.items()}
    for key, file, pattern in (
        ("opentelemetry-collector", "collector.yaml", r"\$\{env:(\w+)"),
        ("fluent-bit", "fluent-bit.yaml", r"\$\{(\w+)\}"),
    ):
        wanted = set(re.findall(pattern, (MONITORING / "files" / file).read_text()))
        assert wanted and wanted == given[key], key


# The key under which each dependency takes environment variables.
LISTS = {"opentelemetry-collector": "extraEnvs", "fluent-bit": "env"}


def test_prometheus_is_the_same_as_in_compose():
    spec = monitoring_values()["kube-prometheus-stack"]["prometheus"]["prometheusSpec"]
    compose = yaml.safe_load((SOURCES / "prometheus/prometheus.yml").read_text())
    snake = json.loads(re.sub(r'"(\w+)":', lambda found: f'"{snaked(found[1])}":', json.dumps(spec["remoteWrite"])))
    assert snake == compose["remote_write"]
    assert spec["scrapeInterval"] == compose["global"]["scrape_interval"]
    assert spec["evaluationInterval"] == compose["global"]["evaluation_interval"]


def snaked(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", name)
