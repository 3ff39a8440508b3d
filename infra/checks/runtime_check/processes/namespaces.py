"""Private network, mount and process namespaces, which the kernel removes when the run ends."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "TICKBELL_RUNTIME_CHECK_NAMESPACES"
FOLDER = "TICKBELL_RUNTIME_CHECK_FOLDER"
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
    """A failed check; its text is for the reader of the output."""


def is_inside() -> bool:
    return INSIDE in os.environ


def enter(program: Path, arguments: list[str]) -> int:
    """Runs `program` as the first process of new namespaces, inside a user namespace if the caller is not root.

    Each process ends when its parent does, even after `kill -9`. When the first process of the namespaces ends, the
    kernel ends all others and removes their mounts and networks. A run leaves nothing behind, and two runs at the same time do
    not interfere.
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
    """Waits for a run and returns its status. Ctrl-C reaches the run from the terminal; SIGTERM kills it at once."""
    folder = tempfile.mkdtemp(prefix="tickbell-runtime-check-")
    die_with_parent = ["setpriv", "--pdeathsig", "KILL"]
    # With --keep, the run inherits the API's socket.
    with subprocess.Popen([*die_with_parent, *command], env={**environment, FOLDER: folder}, close_fds=False) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.kill())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = child.wait()
    # The logs of a failed run are kept.
    if status < 0 or not any(path.is_file() for path in Path(folder).rglob("*")):
        shutil.rmtree(folder)
    return status if status >= 0 else 128 - status


def interpreter() -> str:
    """Returns a Python that has PyYAML: that of `make tools-deploy`, or the current one."""
    built = Path(__file__).resolve().parents[4] / ".tools/python/bin/python"
    return str(built) if os.access(built, os.X_OK) else sys.executable


def has_users() -> bool:
    """Returns whether containers have distinct users. In a user namespace, one user owns all files."""
    return os.environ[INSIDE] == "many"


def mount(source: Path | str, target: Path, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Calls mount(2)."""
    encoded = [str(part).encode() if part is not None else None for part in (source, target, kind)]
    if LIBC.mount(*encoded, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        raise Failure(f"cannot mount {source} at {target}: {os.strerror(ctypes.get_errno())}")


def bind(source: Path, target: Path, read_only: bool) -> None:
    """Mounts a file or folder at a second path."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def make_read_only(target: Path) -> None:
    """Remounts a path read-only."""
    current = os.statvfs(target).f_flag
    flags = (current & LOCKED) | (MS_RELATIME if current & ST_RELATIME else 0)
    mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def tmpfs(target: Path, mode: str, size: str = "64m") -> None:
    mount("tmpfs", target, "tmpfs", data=f"mode={mode},size={size}")


def change_owner(path: Path, owner: tuple[int, int]) -> None:
    """Changes the owner of a path, if the namespaces have more than one user."""
    if has_users():
        os.chown(path, *owner)


def unmount(target: Path) -> None:
    """Unmounts a path and all mounts below it lazily: others keep their open files."""
    if LIBC.umount2(str(target).encode(), 2) != 0:
        raise Failure(f"cannot unmount {target}: {os.strerror(ctypes.get_errno())}")


def join_network(name: str) -> None:
    """Moves the calling thread, and no other, into a container's network namespace."""
    with open(f"/run/netns/{name}", "rb") as namespace:
        if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise Failure(f"cannot enter the network of {name}: {os.strerror(ctypes.get_errno())}")
