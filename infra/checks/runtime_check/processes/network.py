"""One bridge, and on it a network namespace with an address for each container."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from runtime_check.processes import namespaces

# Private to the run: one network for pods and containers, one that plays the internet.
INSIDE_NET, OUTSIDE_NET = "10.203.0", "198.51.100"


class Network:
    """Network namespaces by name, with their addresses. This process is on the bridge too, like a node with its pods."""

    def __init__(self, inside: list[str], outside: list[str] = ()):
        self.addresses = {name: f"{INSIDE_NET}.{number}" for number, name in enumerate(inside, start=10)}
        self.addresses |= {name: f"{OUTSIDE_NET}.{number}" for number, name in enumerate(outside, start=10)}
        namespaces.tmpfs(namespaces.Path("/run"), "755")
        batch(None, ["link set lo up", "link add bridge type bridge", "link set bridge up",
                     f"addr add {INSIDE_NET}.1/24 dev bridge", "route add default dev bridge"])  # fmt: skip
        names = list(self.addresses)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: ip("netns", "add", name), names))
            batch(None, [line for number, name in enumerate(names) for line in plug(number, name)])
            list(pool.map(lambda name: batch(name, configure(self.addresses[name])), names))
        for name in names:
            self.run_in(name, open_low_ports)

    def run_in(self, name: str, function: Callable):
        """Runs a function in a container's network and returns its result."""
        with ThreadPoolExecutor(1, initializer=namespaces.join_network, initargs=(name,)) as thread:
            return thread.submit(function).result()


def open_low_ports() -> None:
    """Allows every user to listen below port 1024, as container engines do."""
    namespaces.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")


def plug(number: int, name: str) -> list[str]:
    port = f"port{number}"
    return [
        f"link add {port} type veth peer name eth0 netns {name}",
        f"link set {port} master bridge",
        f"link set {port} up",
    ]


def configure(address: str) -> list[str]:
    # Addresses of both networks are on the one bridge.
    return ["link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", "route add default dev eth0"]


def ip(*arguments: str, stdin: str | None = None) -> None:
    done = subprocess.run(["ip", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise namespaces.Failure(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def batch(name: str | None, lines: list[str]) -> None:
    """Runs several `ip` commands at once, in a namespace or in the current one."""
    ip(*(["-netns", name] if name else []), "-batch", "-", stdin="\n".join(lines) + "\n")
