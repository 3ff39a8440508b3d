"""deny.toml fits the dependencies, as far as that shows without the network: `make deny` also asks for advisories."""

import re
import tomllib
from functools import cache

import project

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


@cache
def policy() -> dict:
    return tomllib.loads((project.ROOT / "deny.toml").read_text())


@cache
def locked() -> list[dict]:
    return tomllib.loads((project.ROOT / "Cargo.lock").read_text())["package"]


@cache
def licences() -> dict[str, str]:
    """Returns every crate that is shipped or builds what is shipped, with the licence of its manifest."""
    found: dict[str, str] = {}
    for target in policy()["graph"]["targets"]:
        tree = ("cargo", "tree", "--locked", "--workspace", "--all-features", "--target", target)
        edges = ("--edges", "normal,build", "--prefix", "none", "--format", "{p}|{l}")
        lines = project.output(*tree, *edges).splitlines()
        found |= {line.split(" ")[0]: line.partition("|")[2].removesuffix(" (*)") for line in lines if line}
    return found


def split(expression: str, word: str) -> list[str]:
    """Splits an expression at a word that stands outside brackets."""
    parts, depth = [""], 0
    for token in re.findall(r"[()]|[^()\s]+", expression):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == word and depth == 0:
            parts.append("")
        else:
            parts[-1] += f" {token}"
    return [part.strip() for part in parts]


def allowed(expression: str, good: set[str]) -> bool:
    """Returns whether these licences satisfy an SPDX expression. Old manifests write OR as a slash."""
    expression = expression.replace("/", " OR ")
    for word, enough in (("OR", any), ("AND", all)):
        parts = split(expression, word)
        if len(parts) > 1:
            return enough(allowed(part, good) for part in parts)
    if expression.strip().startswith("("):
        return allowed(expression.strip()[1:-1], good)
    # An exception only adds permissions to the licence before it.
    return expression.partition(" WITH ")[0].strip() in good


def test_spdx_expressions_are_evaluated():
    good = {"MIT", "ISC"}
    for expression in ("MIT", "(MIT OR X) AND ISC", "X/MIT", "X OR MIT AND ISC", "MIT WITH exception OR X"):
        assert allowed(expression, good), expression
    for expression in ("X", "MIT AND X", "(MIT OR ISC) AND X", "X OR MIT AND Y", "X WITH exception"):
        assert not allowed(expression, good), expression


def test_every_licence_is_allowed():
    assert len(licences()) > 300
    good = set(policy()["licenses"]["allow"])
    refused = {name: licence for name, licence in licences().items() if not licence or not allowed(licence, good)}
    assert not refused


def test_every_allowed_licence_is_needed():
    good = set(policy()["licenses"]["allow"])
    used = licences().values()
    unused = {licence for licence in good if all(allowed(expression, good - {licence}) for expression in used)}
    assert not unused


def test_there_is_one_tls_and_one_provider():
    banned = {ban["crate"]: ban.get("wrappers", []) for ban in policy()["bans"]["deny"]}
    assert {"aws-lc-rs", "openssl-sys", "native-tls"} <= set(banned)
    for crate, wrappers in banned.items():
        # An exception is for the crates that deny.toml names, and for no other.
        users = {one["name"] for one in locked() for other in one.get("dependencies", []) if other.split()[0] == crate}
        assert users <= set(wrappers) if crate in licences() else not wrappers, f"{crate}: {users}"
    assert {"ring", "rustls"} <= set(licences())


def test_crates_come_from_one_registry():
    sources = {package["source"] for package in locked() if "source" in package}
    assert sources == {CRATES_IO}
    assert all(package.get("checksum") for package in locked() if "source" in package)
    assert policy()["sources"]["allow-registry"] == [CRATES_IO.removeprefix("registry+")]


def test_the_shipped_targets_are_checked():
    assert policy()["graph"]["targets"] == ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]
