"""compose.yaml and the production overlay, started as processes: `python3 infra/checks/wiring` does the same by hand."""

import subprocess
import sys

import house
import pytest
from wiring import compose, images, policies
from wiring.corner import Failure
from wiring.policies import Peer


@pytest.mark.parametrize("which", ["compose", "production"])
def test_everything_works_as_it_is_wired(which, capfd):
    with capfd.disabled():  # its progress is worth seeing: it takes a while
        print(f"\n{which}:", flush=True)
        done = subprocess.run([sys.executable, house.ROOT / "infra/checks/wiring", which], timeout=300, check=False)
    assert done.returncode == 0, f"see above, or run: python3 infra/checks/wiring {which} --keep"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("nats:${TAG:-2.15}", "nats:2.15"),
        ("${A:-${B:-c}}/d", "c/d"),
        ("${A:+set}", ""),
        ("^/(dev)($$|/)", "^/(dev)($|/)"),
    ],
)
def test_variables_are_what_a_clean_clone_has(text, meant):
    assert compose.interpolated(text) == meant


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


def test_who_no_policy_selects_may_reach_everybody():
    assert allowed() is None
    assert allowed(policy([], types=("Ingress",))) is None


def test_a_policy_that_names_nobody_allows_nothing():
    assert allowed(policy([])) == []


def test_a_pod_selector_means_the_own_namespace():
    pods = {"podSelector": {"matchLabels": {"app": "store"}}}
    assert allowed(policy([{"to": [pods], "ports": [{"port": 1}]}])) == [(STORE.address, "tcp 1 ")]
    there = {**pods, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    assert allowed(policy([{"to": [there], "ports": [{"port": 1}]}])) == [(OTHER.address, "tcp 1 ")]


def test_a_block_means_addresses_but_for_its_exceptions():
    block = {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}
    assert allowed(policy([{"to": [{"ipBlock": block}], "ports": [{"port": 1}]}])) == [(WORLD.address, "tcp 1 ")]
