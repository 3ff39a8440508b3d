"""NetworkPolicies as packet filters in the pods' own networks: what no policy allows is refused."""

import ipaddress
import json
import subprocess
from dataclasses import dataclass

import house

from wiring.corner import Failure

NODE = "10.203.0.1"


@dataclass(frozen=True)
class Peer:
    """Somebody with an address: a pod, or a place outside the cluster, which has no namespace."""

    name: str
    address: str
    namespace: str | None
    labels: tuple[tuple[str, str], ...] = ()


def chosen(selector: dict | None, labels: dict[str, str]) -> bool:
    """Whether a label selector picks something with these labels; an empty one picks everything."""
    for key, value in (selector or {}).get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in (selector or {}).get("matchExpressions", []):
        has, values = labels.get(rule["key"]), rule.get("values", [])
        right = {
            "In": has in values,
            "NotIn": has not in values,
            "Exists": has is not None,
            "DoesNotExist": has is None,
        }[rule["operator"]]
        if not right:
            return False
    return True


def is_peer(rule: dict, peer: Peer, home: str) -> bool:
    """Whether an entry of `from` or `to` means somebody."""
    if block := rule.get("ipBlock"):
        address = ipaddress.ip_address(peer.address)
        out = any(address in ipaddress.ip_network(part) for part in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not out
    if peer.namespace is None:
        return False
    if "namespaceSelector" in rule:
        names = {"kubernetes.io/metadata.name": peer.namespace}
        if not chosen(rule["namespaceSelector"], names):
            return False
    elif peer.namespace != home:
        return False
    return chosen(rule.get("podSelector"), dict(peer.labels))


def allowed(policies: list[dict], pod: Peer, peers: list[Peer], way: str) -> list[tuple[str, str]] | None:
    """Whom a pod may reach (`egress`) or be reached by (`ingress`), with the ports; None where nothing is forbidden."""
    mine = [
        policy
        for policy in policies
        if policy["metadata"].get("namespace", "tickbell") == pod.namespace
        and chosen(policy["spec"]["podSelector"], dict(pod.labels))
        and way.capitalize() in policy["spec"]["policyTypes"]
    ]
    if not mine:
        return None
    found = []
    for rule in (rule for policy in mine for rule in policy["spec"].get(way, [])):
        entries = rule.get("to" if way == "egress" else "from")
        ports = "".join(sorted(f"{port.get('protocol', 'TCP').lower()} {port['port']} " for port in rule["ports"]))
        for peer in peers:
            if entries is None or any(is_peer(entry, peer, pod.namespace) for entry in entries):
                found.append((peer.address, ports))
    return found


def ruleset(policies: list[dict], pod: Peer, peers: list[Peer]) -> str:
    """The filter of a pod for nft. The node reaches every pod: it asks the probes."""
    chains = []
    for way, hook, side in (("ingress", "input", "saddr"), ("egress", "output", "daddr")):
        pairs = allowed(policies, pod, peers, way)
        if pairs is None:
            continue
        lines = ["oif lo accept" if way == "egress" else "iif lo accept", "ct state established,related accept"]
        if way == "ingress":
            lines.append(f"ip saddr {NODE} accept")
        for address, ports in sorted(set(pairs)):
            numbers = ports.split()
            for protocol, port in zip(numbers[::2], numbers[1::2], strict=True):
                lines.append(f"ip {side} {address} {protocol} dport {port} accept")
        # Refused, not dropped: a caller knows at once. The counter tells us afterwards.
        lines.append("counter meta l4proto tcp reject with tcp reset")
        lines.append("drop")
        body = "\n    ".join(lines)
        chains.append(f"  chain {way} {{\n    type filter hook {hook} priority 0; policy drop;\n    {body}\n  }}")
    return "table ip policies {\n" + "\n".join(chains) + "\n}\n"


def nft(pod: str, *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{pod}", house.tool("nft"), *arguments],
        input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failure(f"nft for {pod}: {done.stderr}")
    return done.stdout


def enforce(policies: list[dict], pods: list[Peer], peers: list[Peer]) -> None:
    for pod in pods:
        nft(pod.name, "-f", "-", stdin=ruleset(policies, pod, peers))


def refused(pods: list[Peer]) -> dict[str, int]:
    """How many connections each pod was refused, in either direction."""
    found = {}
    for pod in pods:
        rules = [one["rule"] for one in json.loads(nft(pod.name, "-j", "list", "ruleset"))["nftables"] if "rule" in one]
        counts = [part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part]
        if sum(counts):
            found[pod.name] = sum(counts)
    return found
