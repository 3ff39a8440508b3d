"""deny.toml fits the dependencies that there are, as far as that is seen without the network: `make deny` does more."""

import re
import tomllib
from functools import cache

import house

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


@cache
def policy() -> dict:
    return tomllib.loads((house.ROOT / "deny.toml").read_text())


@cache
def locked() -> list[dict]:
    return tomllib.loads((house.ROOT / "Cargo.lock").read_text())["package"]


@cache
def licences() -> dict[str, str]:
    """Every crate that is shipped or builds what is, with its licence by its manifest. Tests may use others."""
    found: dict[str, str] = {}
    for target in policy()["graph"]["targets"]:
        tree = ("cargo", "tree", "--locked", "--workspace", "--all-features", "--target", target)
        edges = ("--edges", "normal,build", "--prefix", "none", "--format", "{p}|{l}")
        lines = house.output(*tree, *edges).splitlines()
        found |= {line.split(" ")[0]: line.partition("|")[2].removesuffix(" (*)") for line in lines if line}
    return found


def split(expression: str, word: str) -> list[str]:
    """The parts around a word that stands in no brackets."""
    parts, depth = [""], 0
    for token in re.findall(r"[()]|[^()\s]+", expression):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == word and depth == 0:
            parts.append("")
        else:
            parts[-1] += f" {token}"
    return [part.strip() for part in parts]


def allowed(expression: str, good: set[str]) -> bool:
    """Whether an SPDX expression can be met by these licences. Old manifests write OR as a slash."""
    expression = expression.replace("/", " OR ")
    for word, enough in (("OR", any), ("AND", all)):
        parts = split(expression, word)
        if len(parts) > 1:
            return enough(allowed(part, good) for part in parts)
    if expression.strip().startswith("("):
        return allowed(expression.strip()[1:-1], good)
    # An exception allows more than the licence before it.
    return expression.partition(" WITH ")[0].strip() in good


def test_expressions_are_understood():
    good = {"MIT", "ISC"}
    for expression in ("MIT", "(MIT OR X) AND ISC", "X/MIT", "X OR MIT AND ISC", "MIT WITH exception OR X"):
        assert allowed(expression, good), expression
    for expression in ("X", "MIT AND X", "(MIT OR ISC) AND X", "X OR MIT AND Y", "X WITH exception"):
        assert not allowed(expression, good), expression


def test_every_licence_is_allowed():
    assert len(licences()) > 300
    good = set(policy()["licenses"]["allow"])
    refused = {name: said for name, said in licences().items() if not said or not allowed(said, good)}
    assert not refused


def test_every_allowed_licence_is_needed():
    good = set(policy()["licenses"]["allow"])
    idle = {licence for licence in good if all(allowed(said, good - {licence}) for said in licences().values())}
    assert not idle


def test_there_is_one_tls_and_one_provider():
    banned = {ban["crate"] for ban in policy()["bans"]["deny"]}
    assert {"aws-lc-rs", "openssl-sys", "native-tls"} <= banned
    assert not banned & set(licences())
    assert {"ring", "rustls"} <= set(licences())


def test_crates_come_from_one_registry():
    sources = {package["source"] for package in locked() if "source" in package}
    assert sources == {CRATES_IO}
    assert all(package.get("checksum") for package in locked() if "source" in package)
    assert policy()["sources"]["allow-registry"] == [CRATES_IO.removeprefix("registry+")]


def test_what_is_shipped_is_what_is_looked_at():
    assert policy()["graph"]["targets"] == ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]
