"""The infrastructure on AWS: its files fit each other, the contract with the cluster, and the rules of the project.

Only AWS can tell whether an apply succeeds, so that is not tested here.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import runpy
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import project
import pytest

TERRAFORM = project.ROOT / "infra/terraform"
ENVIRONMENTS = ["production", "staging"]
# Roots are applied; modules are their parts.
ROOTS = ["account", *(f"envs/{name}" for name in ENVIRONMENTS)]
# The metrics of CloudWatch that need an alarm, because no exporter in the cluster has them.
WATCHED = {
    ("AWS/RDS", "FreeStorageSpace"),
    ("AWS/RDS", "CPUUtilization"),
    ("AWS/RDS", "FreeableMemory"),
    ("AWS/ES", "ClusterStatus.red"),
    ("AWS/ES", "FreeStorageSpace"),
    ("AWS/ES", "ClusterIndexWritesBlocked"),
    ("AWS/NATGateway", "ErrorPortAllocation"),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
    ("AWS/Route53", "HealthCheckStatus"),
}


@cache
def parsed() -> dict[str, dict]:
    """Returns every .tf file as JSON, by its path without the suffix."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "tf"), Path(folder, "json")
        # The converter reads every file of a folder, so the .tf files are copied apart.
        for file in TERRAFORM.rglob("*.tf"):
            copy = source / file.relative_to(TERRAFORM)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        project.output(project.tool("hcl2tojson"), source, target)
        return {
            str(file.relative_to(target).with_suffix("")): json.loads(file.read_text())
            for file in target.rglob("*.json")
        }


def folders() -> list[str]:
    """Returns every root and every module."""
    return sorted({str(Path(name).parent) for name in parsed()})


MODULES = sorted(f"modules/{path.name}" for path in TERRAFORM.glob("modules/*"))


def blocks(folder: str, kind: str) -> list[dict]:
    """Returns the blocks of one kind in one folder: {name: body}, or {type: {name: body}} for resources and data."""
    return [
        block for name, file in parsed().items() if str(Path(name).parent) == folder for block in file.get(kind, [])
    ]


def named(folder: str, kind: str) -> dict[str, dict]:
    """Returns the variables, outputs or module calls of a folder, by name."""
    return {name: body for block in blocks(folder, kind) for name, body in block.items()}


def resources(folder: str, wanted: str) -> list[dict]:
    """Returns the resources of one type in one folder."""
    return [
        body
        for block in blocks(folder, "resource")
        for kind in block
        if kind == wanted
        for body in block[kind].values()
    ]


def arguments(call: dict) -> set[str]:
    """Returns the names of the arguments of a module call."""
    own = {"source", "providers", "for_each", "count", "depends_on", "__start_line__", "__end_line__"}
    return set(call) - own


def called(folder: str, call: dict) -> str:
    """Returns the folder of the module that a call names."""
    return str((TERRAFORM / folder / call["source"][0]).resolve().relative_to(TERRAFORM))


def text(folder: str) -> str:
    """Returns the text of all .tf files of a folder, without comments."""
    whole = "\n".join(file.read_text() for file in sorted((TERRAFORM / folder).glob("*.tf")))
    return re.sub(r"^\s*#.*$", "", whole, flags=re.MULTILINE)


def settings(environment: str) -> dict:
    """Returns the literal arguments of an environment."""
    return named(f"envs/{environment}", "module")["tickbell"]


# --- Form ------------------------------------------------------------------------------------------------------------


def test_every_file_is_formatted():
    files = [str(file) for file in TERRAFORM.rglob("*.tf")]
    local = project.ROOT / ".tools/bin/hclfmt"
    if local.is_file():
        done = project.run(local, "-require-no-change", *files)
    else:
        done = project.run(project.tool("terraform"), "fmt", "-check", "-recursive", TERRAFORM)
    assert done.returncode == 0, f"run `terraform fmt -recursive infra/terraform`:\n{done.stderr or done.stdout}"


def test_checkov_finds_nothing():
    done = project.run(
        project.tool("checkov"),
        "--directory",
        TERRAFORM,
        "--framework",
        "terraform",
        "secrets",
        "--skip-download",
        "--compact",
        "--quiet",
        "--output",
        "json",
    )
    assert done.stdout.lstrip().startswith(("{", "[")), f"{done.stdout}{done.stderr}"
    reports = json.loads(done.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    failed = [
        f"{found['check_id']} {found['file_path']}: {found['resource']}"
        for report in reports
        for found in report["results"]["failed_checks"]
    ]
    assert not failed, "\n".join(failed)
    assert sum(report["summary"]["parsing_errors"] for report in reports) == 0
    assert sum(report["summary"]["passed"] for report in reports) > 500


def test_every_skip_of_checkov_has_a_reason():
    skips = [
        line for file in TERRAFORM.rglob("*.tf") for line in file.read_text().splitlines() if "checkov:skip" in line
    ]
    assert skips
    bare = [line.strip() for line in skips if not re.search(r"checkov:skip=CKV2?_[A-Z]+_\d+: .{9,}", line)]
    assert not bare


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES])
def test_every_variable_and_output_has_a_description(folder):
    for name, variable in named(folder, "variable").items():
        assert variable.get("type"), f"{folder}: variable {name} has no type"
        assert len(variable.get("description", [""])[0].strip()) >= 8, f"{folder}: variable {name} is not described"
    for name, output in named(folder, "output").items():
        assert len(output.get("description", [""])[0].strip()) >= 8, f"{folder}: output {name} is not described"


# `environment` only passes values on; the modules that it calls validate them.
@pytest.mark.parametrize("folder", [name for name in [*ROOTS, *MODULES] if name != "modules/environment"])
def test_every_number_has_a_range(folder):
    numbers = {name: body for name, body in named(folder, "variable").items() if body["type"] == ["${number}"]}
    assert not [name for name, body in numbers.items() if "validation" not in body]


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES])
def test_versions_are_pinned_and_equal(folder):
    (terraform,) = blocks(folder, "terraform")
    assert terraform["required_version"] == ["~> 1.11"]
    (providers,) = terraform["required_providers"]
    assert providers == {"aws": [{"source": "hashicorp/aws", "version": "~> 6.25"}]}


# --- Consistency -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES])
def test_every_variable_is_used(folder):
    written = text(folder)
    unused = []
    for name in named(folder, "variable"):
        # The block of a variable may name it in its validation, which does not count.
        elsewhere = re.sub(rf'variable "{name}" {{\n.*?\n}}', "", written, flags=re.DOTALL)
        if not re.search(rf"\bvar\.{name}\b", elsewhere):
            unused.append(name)
    assert not unused
    unknown = set(re.findall(r"\bvar\.(\w+)", written)) - set(named(folder, "variable"))
    assert not unknown


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES])
def test_every_call_passes_the_arguments_of_the_module(folder):
    for name, call in named(folder, "module").items():
        variables = named(called(folder, call), "variable")
        assert variables, f"{folder}: module {name} has no variables: {call['source']}"
        required = {variable for variable, body in variables.items() if "default" not in body}
        assert arguments(call) <= set(variables), f"{folder}: {name} gets unknown arguments"
        assert required <= arguments(call), f"{folder}: {name} lacks required arguments"


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES])
def test_every_output_that_is_read_exists(folder):
    calls = named(folder, "module")
    # An address in a block `moved` reads nothing.
    written = re.sub(r"^moved \{.*?^\}", "", text(folder), flags=re.MULTILINE | re.DOTALL)
    for name, output in re.findall(r"\bmodule\.(\w+)(?:\[[^\]]+\])?\.(\w+)", written):
        assert name in calls, f"{folder}: there is no module {name}"
        assert output in named(called(folder, calls[name]), "output"), f"{folder}: module {name} has no output {output}"


def test_what_has_moved_into_a_module_is_not_made_anew():
    """A distribution that is made anew takes its address and its files with it."""
    common = {
        f"{kind}.{name}"
        for block in blocks("modules/distribution", "resource")
        for kind in block
        for name in block[kind]
    }
    common |= {f"module.{name}" for name in named("modules/distribution", "module")}
    assert len(common) == 7
    for folder in ("modules/cdn", "modules/site"):
        assert called(folder, named(folder, "module")["distribution"]) == "modules/distribution"
        moved = {block["from"][0]: block["to"][0] for block in blocks(folder, "moved")}
        assert moved == {f"${{{name}}}": f"${{module.distribution.{name}}}" for name in common}
        assert not {kind for block in blocks(folder, "resource") for kind in block if f"{kind}.this" in common}


def test_every_module_is_used():
    used = {called(folder, call) for folder in folders() for call in named(folder, "module").values()}
    assert used == set(MODULES)


# --- Two environments ------------------------------------------------------------------------------------------------


def test_environments_differ_in_one_file():
    for file in ("variables.tf", "outputs.tf"):
        one, other = (TERRAFORM / "envs" / name / file for name in ENVIRONMENTS)
        assert one.read_text() == other.read_text()
    one, other = ((TERRAFORM / "envs" / name / "versions.tf").read_text() for name in ENVIRONMENTS)
    assert one.replace("production", "staging") == other


def test_environments_call_the_same_module_with_the_same_arguments():
    calls = [named(f"envs/{name}", "module") for name in ENVIRONMENTS]
    assert [list(call) for call in calls] == [["tickbell"], ["tickbell"]]
    one, other = (call["tickbell"] for call in calls)
    assert called("envs/staging", one) == called("envs/staging", other) == "modules/environment"
    assert arguments(one) == arguments(other)
    assert [settings(name)["environment"][0] for name in ENVIRONMENTS] == ENVIRONMENTS


def test_networks_do_not_overlap():
    networks = [ipaddress.ip_network(settings(name)["cidr"][0]) for name in ENVIRONMENTS]
    assert all(network.is_private for network in networks)
    assert not networks[0].overlaps(networks[1])


def test_subnets_fill_three_zones_and_do_not_overlap():
    """Computes what cidrsubnet in modules/network computes."""
    network = ipaddress.ip_network(settings("production")["cidr"][0])
    subnets = {}
    for kind in ("public", "database", "private"):
        (body,) = [
            block["aws_subnet"][kind]
            for block in blocks("modules/network", "resource")
            if kind in block.get("aws_subnet", {})
        ]
        assert body["for_each"] == ["${local.zones}"]
        bits, number = re.fullmatch(
            r"\$\{cidrsubnet\(var\.cidr,(\d+),(.+)\)\}", body["cidr_block"][0].replace(" ", "")
        ).groups()
        first = sum(int(part) for part in number.split("+") if part != "each.value")
        subnets[kind] = [list(network.subnets(prefixlen_diff=int(bits)))[first + zone] for zone in range(3)]
    everything = [subnet for kind in subnets.values() for subnet in kind]
    assert len(everything) == 9
    assert not [(a, b) for i, a in enumerate(everything) for b in everything[:i] if a.overlaps(b)]
    # The ranges that the network policies of the cluster name.
    for kind, output in (("public", "public_cidr"), ("database", "database_cidr")):
        bits, number = re.search(
            r"cidrsubnet\(var\.cidr, *(\d+), *(\d+)\)", json.dumps(named("modules/network", "output")[output])
        ).groups()
        around = list(network.subnets(prefixlen_diff=int(bits)))[int(number)]
        assert all(subnet.subnet_of(around) for subnet in subnets[kind])
        assert not [
            subnet for other, group in subnets.items() if other != kind for subnet in group if subnet.overlaps(around)
        ]


def test_there_are_three_zones():
    assert "length(var.zones) == 3" in text("modules/network")
    assert re.search(r"slice\(.+, 0, 3\)", text("modules/environment"))


def test_production_survives_the_loss_of_a_zone_and_an_accidental_deletion():
    production = settings("production")
    assert production["protected"] == [True]
    assert production["nat_per_zone"] == [True]
    assert production["database"][0]["multi_az"] is True
    assert production["database"][0]["backup_days"] == 35
    assert production["search"][0]["count"] % 3 == 0
    assert production["services_pool"][0]["min"] >= 3
    assert production["log_retention_days"][0] >= 365


def test_production_does_not_run_ahead_of_staging():
    def minor(name: str) -> int:
        return int(settings(name)["kubernetes"][0]["version"].split(".")[1])

    assert minor("staging") - 1 <= minor("production") <= minor("staging")
    for name in ENVIRONMENTS:
        kubernetes = settings(name)["kubernetes"][0]
        assert kubernetes["addons"]["kube-proxy"].startswith(f"v{kubernetes['version']}.")


# --- State and keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ROOTS)
def test_state_is_remote_encrypted_and_locked(folder):
    (terraform,) = blocks(folder, "terraform")
    backend = terraform["backend"][0]["s3"]
    assert backend["use_lockfile"] == [True]
    assert backend["encrypt"] == [True]
    assert backend["key"] == [f"{folder.removeprefix('envs/')}/terraform.tfstate"]
    (provider,) = blocks(folder, "provider")
    assert set(provider["aws"]["default_tags"][0]["tags"][0]) == {"Project", "Environment", "ManagedBy"}
    assert provider["aws"]["default_tags"][0]["tags"][0]["Environment"] == folder.removeprefix("envs/")
    assert "allowed_account_ids" in provider["aws"]


def test_there_is_no_static_key_and_no_password():
    kinds = {kind for folder in folders() for block in blocks(folder, "resource") for kind in block}
    assert not kinds & {"aws_iam_access_key", "aws_iam_user", "aws_secretsmanager_secret_version", "random_password"}
    for folder in folders():
        assert not re.search(r"\b(access_key|secret_key|password|secret_string|auth_token)\s*=", text(folder)), folder
        assert not re.search(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", text(folder)), folder
        # Account numbers belong to an installation, not to the code.
        assert not re.search(r"\b\d{12}\b", text(folder)), folder


def test_trust_policies_name_subject_and_audience():
    """Every role that a web identity can assume names its subject and its audience."""
    for folder in folders():
        for block in blocks(folder, "data"):
            for body in block.get("aws_iam_policy_document", {}).values():
                written = json.dumps(body)
                if "AssumeRoleWithWebIdentity" in written:
                    assert written.count(":sub") == written.count(":aud") == written.count("AssumeRoleWithWebIdentity")


def test_every_role_has_the_permissions_boundary():
    for folder in folders():
        for role in resources(folder, "aws_iam_role"):
            assert "permissions_boundary" in role, f"{folder}: {role.get('name')}"


# --- Contract with the cluster --------------------------------------------------------------------------------------


def defined_secrets() -> dict[str, list[str]]:
    (found,) = [block["secrets"][0] for block in blocks("modules/secrets", "locals") if "secrets" in block]
    return found


def test_every_secret_of_the_contract_is_defined():
    secrets = defined_secrets()
    assert set(project.services()) - project.WITHOUT_BROKER | {
        "migrate",
        "nats",
        "nats-tls",
    } <= set(secrets)
    variables = project.setting_variables() | {"NATS_URL", "DATABASE_URL"}
    for service in [*project.services(), "migrate", "telemetry"]:
        assert set(secrets.get(service, [])) <= variables, service
    assert secrets["gateway"] == [key for key in secrets["notifier"] if key != "TICKBELL_SMTP__URL"]


def test_the_broker_has_a_password_for_every_user():
    users = set(re.findall(r"\$(NATS_PASSWORD_\w+)", (project.ROOT / "infra/nats/users.conf").read_text()))
    assert set(defined_secrets()["nats"]) == users


def test_external_secrets_copies_only_defined_entries():
    manifests = project.ROOT / "k8s/overlays/components/external-secrets"
    entries = {
        key for file in manifests.rglob("*.yaml") for key in re.findall(r"key: tickbell/\w+/(\S+)", file.read_text())
    }
    assert entries
    assert entries <= set(defined_secrets())


def test_fill_secrets_writes_every_value_that_it_can_generate():
    script = runpy.run_path(str(TERRAFORM / "fill-secrets"), run_name="fill_secrets")
    nats = {name: f"n-{name}" for name in script["NATS_USERS"]}
    database = {name: f"d-{name}" for name in script["DATABASE_ROLES"]}
    values = script["compose"](nats, database, "links", "smtps://mail.example", "nats", "db.example")
    # An administrator provides the certificate and Sentry's address (README.md).
    expected = {name: keys for name, keys in defined_secrets().items() if name not in ("nats-tls", "telemetry")}
    assert {name: list(value) for name, value in values.items()} == expected
    for name in set(project.services()) - project.WITHOUT_DATABASE:
        role = f"tickbell_{name.replace('-', '_')}"
        assert values[name]["DATABASE_URL"].startswith(
            f"postgres://{role}:d-{role}@db.example:5432/tickbell?sslmode=verify-full"
        )
    for name in set(project.services()) - project.WITHOUT_BROKER:
        assert values[name]["NATS_URL"] == f"tls://{name}:n-{name}@nats:4222"
        assert values["nats"][f"NATS_PASSWORD_{name.replace('-', '_').upper()}"] == f"n-{name}"
    assert values["gateway"]["TICKBELL_LINKS__SECRET"] == values["notifier"]["TICKBELL_LINKS__SECRET"]
    roles = re.findall(r"'(tickbell_\w+)'", (project.ROOT / project.ROLES_SQL).read_text().split(";")[1])
    assert set(roles) <= set(database)
    sql = script["login_sql"](database)
    assert not [secret for secret in database.values() if secret in sql]


def test_scram_verifiers_are_those_of_the_rfc():
    """Uses the salt, rounds, password and server signature of the example in RFC 7677."""
    script = runpy.run_path(str(TERRAFORM / "fill-secrets"), run_name="fill_secrets")
    verifier = script["scram"]("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    method, salted, keys = verifier.split("$")
    stored, server = (base64.b64decode(part) for part in keys.split(":"))
    assert (method, salted) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    assert base64.b64encode(hmac.digest(server, message, "sha256")) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(stored, message, "sha256")
    client = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client).digest() == stored


def test_metrics_outside_prometheus_have_an_alarm():
    written = text("modules/alarms")
    pairs = set(re.findall(r'namespace\s+= "([^"]+)"\s+metric\s+= "([^"]+)"', written))
    assert pairs >= WATCHED
    # Each list creates alarms, and each alarm has an action.
    for alarm in resources("modules/alarms", "aws_cloudwatch_metric_alarm"):
        assert alarm["alarm_actions"] != [[]]
    lists = {alarm["for_each"][0] for alarm in resources("modules/alarms", "aws_cloudwatch_metric_alarm")}
    assert lists == {"${local.alarms}", "${local.global_alarms}"}


@pytest.fixture(scope="module")
def prices():
    """A coinnews API: its address."""
    command = [project.tickbell(), "coinnews", "--http", "127.0.0.1:0"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin"}, **output) as process:
        try:
            for line in process.stdout:
                if found := re.search(r"the coinnews API is at (http://[0-9.:]+)/", line):
                    yield found[1]
                    break
        finally:
            process.terminate()


@pytest.mark.parametrize("colour", ["green", "blue"])
def test_a_page_that_nobody_writes_is_noticed(prices, colour, tmp_path):
    """The alarm counts a line of the task's log, which the program itself writes here; a page stays where it is for ever."""

    def write(source: str) -> subprocess.CompletedProcess:
        page = ("export", "site", "--colour", colour, "--output", tmp_path, "--source", f"coinnews:{source}")
        return project.run(project.tickbell(), *page, env={"PATH": "/usr/bin:/bin"})

    (counted,) = resources("modules/ecs-task", "aws_cloudwatch_log_metric_filter")
    assert counted["log_group_name"] == ["${aws_cloudwatch_log_group.this.name}"]
    (metric,) = counted["metric_transformation"]
    assert "default_value" not in metric, "a value without a line would say that somebody writes"
    # In quotes: a line that has just this.
    phrase = re.fullmatch(r'\\?"(.+?)\\?"', counted["pattern"][0])[1]
    other = {"green": "blue", "blue": "green"}[colour]
    done = write(prices)
    assert done.returncode == 0, done.stderr
    assert phrase.replace("${each.key}", colour) in done.stderr
    assert phrase.replace("${each.key}", other) not in done.stderr
    failed = write("http://127.0.0.1:9")
    assert failed.returncode == 69
    assert phrase.replace("${each.key}", colour) not in failed.stderr

    alarm = re.search(r'"site-\$\{colour\}-not-written" => \{(.+?)\n      \}', text("modules/alarms"), re.DOTALL)[1]
    given = dict(re.findall(r"(\w+) += (.+)", alarm))
    assert (given["statistic"], given["comparison"], given["threshold"]) == ('"Sum"', '"LessThanThreshold"', "1")
    assert given["missing"] == '"breaching"'
    # The periods of the alarms have five minutes.
    assert given["periods"] == "max(3, ceil(3 * written.every_minutes / 5))"
    assert "site_written" in arguments(named("modules/environment", "module")["alarms"])


def test_network_policies_are_enforced():
    assert re.search(r'vpc-cni = \{\s+enableNetworkPolicy = "true"', text("modules/eks"))


def test_pods_cannot_assume_the_role_of_their_node():
    (template,) = resources("modules/eks", "aws_launch_template")
    (options,) = template["metadata_options"]
    assert options["http_tokens"] == ["required"]
    assert options["http_put_response_hop_limit"] == [1]


def test_manifests_name_the_bucket_and_the_roles_of_terraform():
    workloads = re.findall(r"^    ([a-z-]+) = {\n      service_account", text("modules/workloads"), re.MULTILINE)
    manifests = [file for file in (project.ROOT / "k8s").rglob("*.yaml") if "charts/monitoring/charts" not in str(file)]
    roles = {
        role
        for file in manifests
        for role in re.findall(r"role/tickbell-(?:production|staging)-([a-z-]+)", file.read_text())
    }
    assert {"archiver", "fluent-bit", "gateway", "postgres-backup"} <= roles <= set(workloads)
    backups = r'"\$\{local\.name\}-(backups)-\$\{local\.account\}"\n\s+kms_key_arn'
    bucket = re.search(backups, text("modules/environment"))[1]
    for name in ENVIRONMENTS:
        overlay = (project.ROOT / f"k8s/overlays/{name}/kustomization.yaml").read_text()
        assert f"backups=s3://tickbell-{name}-{bucket}-" in overlay
        assert f"TICKBELL_ARCHIVE__URL=s3://tickbell-{name}-archive-111122223333/history\n" in overlay
    assert '"${local.name}-archive-${local.account}"' in text("modules/environment")
    assert "archive_bucket_arn}/history/*" in text("modules/workloads")


def test_the_groups_of_the_cluster_are_those_of_access_yaml():
    access = (project.ROOT / "k8s/base/access.yaml").read_text()
    groups = set(re.findall(r"name: (tickbell-[a-z-]+)", access))
    (allowed,) = re.findall(r"contains\(\[(.+)\], group\)", text("modules/eks"))
    assert groups == set(re.findall(r'"([a-z-]+)"', allowed))
    # Nobody uses the chart unless an environment says so.
    used = set(re.findall(r"(tickbell-[a-z-]*(?:deployers|readers))\s+=", text("modules/environment")))
    assert used == groups - {"tickbell-helm-deployers"}


def test_the_load_balancer_reaches_the_port_of_the_gateway():
    port = project.setting_keys()["gateway.listen"].rsplit(":", 1)[1]
    assert named("modules/ingress", "variable")["gateway_port"]["default"] == [int(port)]


def test_the_health_check_requests_a_page_that_exists():
    path = named("modules/dns", "variable")["health_path"]["default"][0]
    assert f'"{path}"' in "".join(file.read_text() for file in (project.ROOT / "services/gateway/src").rglob("*.rs"))
