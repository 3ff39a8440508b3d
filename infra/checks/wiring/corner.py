"""A private corner of this machine: networks, mounts and processes of our own, which the kernel clears away with us."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "TICKBELL_WIRING_CORNER"
FOLDER = "TICKBELL_WIRING_FOLDER"
NEEDED = {
    "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux", "ip": "iproute2", "nft": "nftables",
    "openssl": "openssl", "wget": "wget", "psql": "postgresql-client",
}  # fmt: skip
SPACES = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"]
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
# Flags of a mount that a user namespace must not take away: 1024 and 2048 are noatime and nodiratime.
LOCKED = MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048
ST_RELATIME, MS_RELATIME = 4096, 1 << 21


class Failure(Exception):
    """Something that is wired wrongly, in words for whoever reads the check's output."""


def is_inside() -> bool:
    return INSIDE in os.environ


def enter(program: Path, arguments: list[str]) -> int:
    """Runs `program` as the first process of new namespaces. Whoever is not root gets them in a user namespace.

    Each process ends when the one above it does, also by `kill -9`; with the first of the namespaces all the others end,
    and their mounts and networks are gone. So nothing is left of a run, and two runs at the same time cannot meet.
    """
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for needed, package in NEEDED.items():
        if not shutil.which(needed):
            sys.exit(f"{needed} is not installed: run `make tools-deploy`, or install {package}")
    command = [interpreter(), str(program), *arguments]
    for users, more in (("many", []), ("one", ["--user", "--map-root-user"])):
        unshare = ["unshare", *more, *SPACES, "--"]
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
            return supervise([*unshare, *command], {**os.environ, INSIDE: users})
    sys.exit("namespaces are needed: run this as root, or allow user namespaces (sysctl user.max_user_namespaces)")


def supervise(command: list[str], environment: dict[str, str]) -> int:
    """Waits for a run. Ctrl-C reaches it from the terminal; other signals end it at once."""
    folder = tempfile.mkdtemp(prefix="tickbell-wiring-")
    last_will = ["setpriv", "--pdeathsig", "KILL"]
    # The API's socket goes along where there is one.
    with subprocess.Popen([*last_will, *command], env={**environment, FOLDER: folder}, close_fds=False) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.kill())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = child.wait()
    # Logs of a run that failed stay.
    if status < 0 or not any(path.is_file() for path in Path(folder).rglob("*")):
        shutil.rmtree(folder)
    return status if status >= 0 else 128 - status


def interpreter() -> str:
    """A Python that has PyYAML: the one of `make tools-deploy`, or the one that runs this."""
    built = Path(__file__).resolve().parents[3] / ".tools/python/bin/python"
    return str(built) if os.access(built, os.X_OK) else sys.executable


def has_users() -> bool:
    """Whether each user of a container is a real one: not so in a user namespace, where all files are of one user."""
    return os.environ[INSIDE] == "many"


def mount(source: Path | str, target: Path, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [str(part).encode() if part is not None else None for part in (source, target, kind)]
    if LIBC.mount(*encoded, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        raise Failure(f"cannot mount {source} at {target}: {os.strerror(ctypes.get_errno())}")


def bind(source: Path, target: Path, read_only: bool) -> None:
    """Shows a file or folder at another place."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        seal(target)


def seal(target: Path) -> None:
    """Makes a mount read-only."""
    has = os.statvfs(target).f_flag
    kept = (has & LOCKED) | (MS_RELATIME if has & ST_RELATIME else 0)
    mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def tmpfs(target: Path, mode: str, size: str = "64m") -> None:
    mount("tmpfs", target, "tmpfs", data=f"mode={mode},size={size}")


def own(path: Path, owner: tuple[int, int]) -> None:
    """Gives a path to a user, where there is more than one user."""
    if has_users():
        os.chown(path, *owner)


def unmount(target: Path) -> None:
    """Takes a mount away with all that is mounted below it, at once for us, and for others when they are done."""
    if LIBC.umount2(str(target).encode(), 2) != 0:
        raise Failure(f"cannot unmount {target}: {os.strerror(ctypes.get_errno())}")


def join_network(name: str) -> None:
    """Moves this thread, and only it, into a container's network."""
    with open(f"/run/netns/{name}", "rb") as namespace:
        if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise Failure(f"cannot enter the network of {name}: {os.strerror(ctypes.get_errno())}")
