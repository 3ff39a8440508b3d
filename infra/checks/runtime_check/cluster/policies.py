"""NetworkPolicies as packet filters in the pods' network namespaces: what no policy allows is refused."""

import ipaddress
import json
import subprocess
from dataclasses import dataclass

import project

from runtime_check.processes.namespaces import Failure

NODE = "10.203.0.1"


@dataclass(frozen=True)
class Peer:
    """A pod, or a host outside the cluster, which has no namespace."""

    name: str
    address: str
    namespace: str | None
    labels: tuple[tuple[str, str], ...] = ()


def selector_matches(selector: dict | None, labels: dict[str, str]) -> bool:
    """Returns whether a label selector matches these labels; an empty selector matches everything."""
    for key, value in (selector or {}).get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in (selector or {}).get("matchExpressions", []):
        value, values = labels.get(rule["key"]), rule.get("values", [])
        met = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not met:
            return False
    return True


def is_peer(rule: dict, peer: Peer, home: str) -> bool:
    """Returns whether an entry of `from` or `to` matches a peer."""
    if block := rule.get("ipBlock"):
        address = ipaddress.ip_address(peer.address)
        excluded = any(address in ipaddress.ip_network(part) for part in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not excluded
    if peer.namespace is None:
        return False
    if "namespaceSelector" in rule:
        names = {"kubernetes.io/metadata.name": peer.namespace}
        if not selector_matches(rule["namespaceSelector"], names):
            return False
    elif peer.namespace != home:
        return False
    return selector_matches(rule.get("podSelector"), dict(peer.labels))


def allowed(policies: list[dict], pod: Peer, peers: list[Peer], direction: str) -> list[tuple[str, str]] | None:
    """Returns the addresses and ports that a pod may reach (`egress`) or be reached from (`ingress`).

    Returns None if no policy selects the pod for this direction, so that everything is allowed.
    """
    selecting = [
        policy
        for policy in policies
        if policy["metadata"].get("namespace", "tickbell") == pod.namespace
        and selector_matches(policy["spec"]["podSelector"], dict(pod.labels))
        and direction.capitalize() in policy["spec"]["policyTypes"]
    ]
    if not selecting:
        return None
    found = []
    for rule in (rule for policy in selecting for rule in policy["spec"].get(direction, [])):
        entries = rule.get("to" if direction == "egress" else "from")
        ports = "".join(sorted(f"{port.get('protocol', 'TCP').lower()} {port['port']} " for port in rule["ports"]))
        for peer in peers:
            if entries is None or any(is_peer(entry, peer, pod.namespace) for entry in entries):
                found.append((peer.address, ports))
    return found


def ruleset(policies: list[dict], pod: Peer, peers: list[Peer]) -> str:
    """Returns the nft ruleset of a pod. The node may reach every pod, because it runs the probes."""
    chains = []
    for direction, hook, side in (("ingress", "input", "saddr"), ("egress", "output", "daddr")):
        pairs = allowed(policies, pod, peers, direction)
        if pairs is None:
            continue
        lines = ["oif lo accept" if direction == "egress" else "iif lo accept", "ct state established,related accept"]
        if direction == "ingress":
            lines.append(f"ip saddr {NODE} accept")
        for address, ports in sorted(set(pairs)):
            numbers = ports.split()
            for protocol, port in zip(numbers[::2], numbers[1::2], strict=True):
                lines.append(f"ip {side} {address} {protocol} dport {port} accept")
        # A reset tells the caller at once; the counter shows afterwards that a connection was refused.
        lines.append("counter meta l4proto tcp reject with tcp reset")
        lines.append("drop")
        body = "\n    ".join(lines)
        chains.append(f"  chain {direction} {{\n    type filter hook {hook} priority 0; policy drop;\n    {body}\n  }}")
    return "table ip policies {\n" + "\n".join(chains) + "\n}\n"


def nft(pod: str, *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{pod}", project.tool("nft"), *arguments],
        input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failure(f"nft for {pod}: {done.stderr}")
    return done.stdout


def enforce(policies: list[dict], pods: list[Peer], peers: list[Peer]) -> None:
    for pod in pods:
        nft(pod.name, "-f", "-", stdin=ruleset(policies, pod, peers))


def refused(pods: list[Peer]) -> dict[str, int]:
    """Returns how many connections of each pod were refused, in either direction."""
    found = {}
    for pod in pods:
        rules = [one["rule"] for one in json.loads(nft(pod.name, "-j", "list", "ruleset"))["nftables"] if "rule" in one]
        counts = [part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part]
        if sum(counts):
            found[pod.name] = sum(counts)
    return found
