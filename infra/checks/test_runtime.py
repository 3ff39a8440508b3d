"""compose.yaml and the production overlay, run as processes. By hand: `python3 infra/checks/runtime_check`."""

import subprocess
import sys

import project
import pytest
from runtime_check import compose
from runtime_check.cluster import policies
from runtime_check.cluster.policies import Peer
from runtime_check.processes import images
from runtime_check.processes.namespaces import Failure

# A run mostly waits for its processes, so they run at the same time.
RUNS = [pytest.param(which, marks=pytest.mark.xdist_group(which)) for which in ("compose", "production", "broker")]


@pytest.mark.parametrize("which", RUNS)
def test_the_whole_configuration_works_as_processes(which):
    command = [sys.executable, project.ROOT / "infra/checks/runtime_check", which]
    status = subprocess.run(command, timeout=300, check=False).returncode
    assert status == 0, f"see the output, or run: python3 infra/checks/runtime_check {which} --keep"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nats:${TAG:-2.15}", "nats:2.15"),
        ("${A:-${B:-c}}/d", "c/d"),
        ("${A:+set}", ""),
        ("^/(dev)($$|/)", "^/(dev)($|/)"),
    ],
)
def test_variables_have_the_values_of_a_clean_clone(text, value):
    assert compose.interpolated(text) == value


@pytest.mark.parametrize("text", ["${A:?is needed}", "${A}"])
def test_a_variable_without_a_default_is_refused(text):
    with pytest.raises(Failure):
        compose.interpolated(text)


def test_durations_are_read_as_docker_does():
    assert images.seconds("1m30s") == 90
    assert images.seconds("250ms") == 0.25
    with pytest.raises(Failure):
        images.seconds("30")


SHOP = Peer("shop", "10.203.0.10", "tickbell", (("app", "shop"),))
STORE = Peer("store", "10.203.0.11", "tickbell", (("app", "store"),))
OTHER = Peer("other", "10.203.0.12", "elsewhere", (("app", "store"),))
WORLD = Peer("world", "198.51.100.10", None)


def policy(egress: list[dict], types: tuple[str, ...] = ("Egress",)) -> dict:
    selector = {"matchLabels": {"app": "shop"}}
    return {"metadata": {}, "spec": {"podSelector": selector, "policyTypes": types, "egress": egress}}


def allowed(*found: dict) -> list | None:
    return policies.allowed(list(found), SHOP, [STORE, OTHER, WORLD], "egress")


def test_a_pod_that_no_policy_selects_may_reach_every_peer():
    assert allowed() is None
    assert allowed(policy([], types=("Ingress",))) is None


def test_a_policy_without_peers_allows_nothing():
    assert allowed(policy([])) == []


def test_a_pod_selector_applies_to_its_own_namespace():
    pods = {"podSelector": {"matchLabels": {"app": "store"}}}
    assert allowed(policy([{"to": [pods], "ports": [{"port": 1}]}])) == [(STORE.address, "tcp 1 ")]
    there = {**pods, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    assert allowed(policy([{"to": [there], "ports": [{"port": 1}]}])) == [(OTHER.address, "tcp 1 ")]


def test_an_ip_block_excludes_its_exceptions():
    block = {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}
    assert allowed(policy([{"to": [{"ipBlock": block}], "ports": [{"port": 1}]}])) == [(WORLD.address, "tcp 1 ")]
