"""One bridge, and on it an address with a namespace of its own for each container."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from wiring import corner

# Nobody outside sees these: pods and containers, and what stands for the internet.
INSIDE_NET, OUTSIDE_NET = "10.203.0", "198.51.100"


class Network:
    """Namespaces by name, with their addresses. This process is on the bridge too, as a node is for its pods."""

    def __init__(self, inside: list[str], outside: list[str] = ()):
        self.addresses = {name: f"{INSIDE_NET}.{number}" for number, name in enumerate(inside, start=10)}
        self.addresses |= {name: f"{OUTSIDE_NET}.{number}" for number, name in enumerate(outside, start=10)}
        corner.tmpfs(corner.Path("/run"), "755")
        batch(None, ["link set lo up", "link add bridge type bridge", "link set bridge up",
                     f"addr add {INSIDE_NET}.1/24 dev bridge", "route add default dev bridge"])  # fmt: skip
        names = list(self.addresses)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: ip("netns", "add", name), names))
            batch(None, [line for number, name in enumerate(names) for line in plug(number, name)])
            list(pool.map(lambda name: batch(name, configure(self.addresses[name])), names))
        for name in names:
            self.ask(name, open_low_ports)

    def ask(self, name: str, question: Callable):
        """The answer of a function that runs in a container's network."""
        with ThreadPoolExecutor(1, initializer=corner.join_network, initargs=(name,)) as thread:
            return thread.submit(question).result()


def open_low_ports() -> None:
    """Everybody may listen below 1024, as container engines have it."""
    corner.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")


def plug(number: int, name: str) -> list[str]:
    port = f"port{number}"
    return [
        f"link add {port} type veth peer name eth0 netns {name}",
        f"link set {port} master bridge",
        f"link set {port} up",
    ]


def configure(address: str) -> list[str]:
    # Everything is on the one bridge, also addresses of the other network.
    return ["link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", "route add default dev eth0"]


def ip(*arguments: str, stdin: str | None = None) -> None:
    done = subprocess.run(["ip", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise corner.Failure(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def batch(name: str | None, lines: list[str]) -> None:
    """Several `ip` commands at once, in a namespace or in ours."""
    ip(*(["-netns", name] if name else []), "-batch", "-", stdin="\n".join(lines) + "\n")
