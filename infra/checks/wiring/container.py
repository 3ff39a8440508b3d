"""A container as a process: its root folder, its user, its environment, and how it is asked and stopped."""

import asyncio
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from wiring import corner
from wiring.corner import Failure

# What an image of Alpine or Debian brings, borrowed from this machine, and what it has of its own.
BORROWED = ("usr", "bin", "sbin", "lib", "lib64")
EMPTY = (
    "dev",
    "etc",
    "etc/ssl/certs",
    "home",
    "proc",
    "root",
    "run",
    "tmp",
    "var/run",
    "var/lib",
    "var/log",
    "mnt",
    "opt",
)
DEVICES = ("null", "zero", "full", "random", "urandom")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD = (
    "root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\ntickbell:x:10001:10001::/:/bin/false\n"
)


@dataclass
class Mount:
    """A file or folder of this machine at a place in a container; without a source, memory."""

    target: str
    source: Path | None = None
    read_only: bool = False


@dataclass
class Container:
    """What is to run, whoever described it."""

    name: str
    command: list[str]
    # Whose network it is in, where that is another's.
    network: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: tuple[int, int] = (0, 0)
    workdir: str = "/"
    read_only: bool = False
    # No capabilities and no new ones.
    bare: bool = False
    mounts: list[Mount] = field(default_factory=list)
    # Folders of the image that are its user's.
    folders: list[str] = field(default_factory=list)
    # Programs of the image that this machine has elsewhere: name to path.
    programs: dict[str, Path] = field(default_factory=dict)
    # Folders of this machine that these programs need at their own place.
    libraries: list[Path] = field(default_factory=list)
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10
    # Ours must end with status 0; other people's programs must only end.
    ours: bool = False


def build_root(container: Container, root: Path, hosts: str, authorities: str) -> None:
    """Makes the root folder of a container, with its mounts."""
    root.mkdir()
    corner.tmpfs(root, "755")
    for name in EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    borrow(root)
    for name in DEVICES:
        (root / "dev" / name).touch()
        corner.bind(Path("/dev") / name, root / "dev" / name, read_only=False)
    (root / "dev/shm").mkdir()
    corner.tmpfs(root / "dev/shm", "1777")
    corner.bind(Path("/proc"), root / "proc", read_only=False)
    os.chmod(root / "tmp", 0o1777)
    texts = {
        "passwd": PASSWD,
        "group": "root:x:0:\npostgres:x:70:\ntickbell:x:10001:\n",
        "hosts": hosts,
        "resolv.conf": "",
        "nsswitch.conf": "hosts: files\n",
        "ssl/certs/ca-certificates.crt": authorities,
    }
    for name, text in texts.items():
        (root / "etc" / name).write_text(text)
    add_programs(root, container.programs)
    for name in container.folders:
        (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        corner.own(root / name.lstrip("/"), container.user)
    for wanted in sorted(container.mounts, key=lambda mount: mount.target.count("/")):
        place(root, wanted)
    # Last: this machine may have them where a container has a mount of its own.
    for library in container.libraries:
        place(root, Mount(str(library), library, read_only=True))
    if container.read_only:
        corner.seal(root)


def borrow(root: Path) -> None:
    for name in BORROWED:
        here = Path("/") / name
        if here.is_symlink():
            (root / name).symlink_to(here.readlink())
        elif here.is_dir():
            (root / name).mkdir()
            corner.bind(here, root / name, read_only=True)


def add_programs(root: Path, programs: dict[str, Path]) -> None:
    """Puts programs at /usr/local/bin or at the path that names them."""
    corner.tmpfs(root / "usr/local/bin", "755")
    for name, source in programs.items():
        target = root / name.lstrip("/") if name.startswith("/") else root / "usr/local/bin" / name
        target.touch()
        corner.bind(source.resolve(), target, read_only=True)


def place(root: Path, wanted: Mount) -> None:
    target = root / wanted.target.strip("/")
    try:
        if wanted.source is not None and wanted.source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        else:
            target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"there is no place for a mount at {wanted.target}: {error.strerror}") from error
    if wanted.source is None:
        corner.tmpfs(target, "1777")
    else:
        corner.bind(wanted.source, target, wanted.read_only)


class Running:
    """A started container."""

    def __init__(self, container: Container, root: Path, log: Path):
        self.container, self.root, self.log = container, root, log
        self.process: asyncio.subprocess.Process | None = None
        self.stopping = False

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await self.spawn(self.container.command, log)

    async def spawn(self, command: list[str], output) -> asyncio.subprocess.Process:
        environment = {"PATH": PATH, "HOSTNAME": self.container.name, "HOME": "/", **self.container.environment}
        return await asyncio.create_subprocess_exec(
            *self.enter(), *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=output,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True
        )  # fmt: skip

    def enter(self) -> list[str]:
        """The words before a command that bring it into the container."""
        (user, group), bare = self.container.user, self.container.bare
        network = [tool("nsenter"), f"--net=/run/netns/{self.container.network or self.container.name}"]
        if corner.has_users():
            drop = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"] if bare else []
            inside = [f"--root={self.root}", f"--wd={self.root}{self.container.workdir}", "--"]
            return [*network, *inside, tool("setpriv"), f"--reuid={user}", f"--regid={group}", "--clear-groups", *drop]
        # A process that has changed its root may not make a user namespace, so both at once.
        names = [f"--map-user={user}", f"--map-group={group}", f"--root={self.root}", f"--wd={self.container.workdir}"]
        no_more = [tool("setpriv"), "--no-new-privs"] if bare else []
        return [*network, "--", tool("unshare"), "--user", *names, "--", *no_more]

    async def run(self, command: list[str], timeout: float) -> tuple[int | None, str]:
        """Runs a command beside the container's own, as `docker exec` does; no status when it took too long."""
        process = await self.spawn(command, asyncio.subprocess.PIPE)
        try:
            said, _ = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            return None, f"no answer in {timeout:g} s"
        return process.returncode, said.decode(errors="replace").strip()

    async def stop(self) -> float:
        """Asks it to end and says how long that took. Fails where the grace is too short or the status is not 0."""
        self.stopping = True
        clock = asyncio.get_running_loop().time
        began = clock()
        self.process.send_signal(self.container.stop_signal)
        try:
            status = await asyncio.wait_for(self.process.wait(), self.container.grace)
        except TimeoutError:
            self.process.kill()
            raise Failure(
                f"{self.container.name} has not ended {self.container.grace:g} s after {self.container.stop_signal.name}"
                f"\n{self.tail()}"
            ) from None
        if self.container.ours and status != 0:
            raise Failure(f"{self.container.name} was stopped and ended with {status}, not 0\n{self.tail()}")
        return clock() - began

    def tail(self, lines: int = 25) -> str:
        if not self.log.exists():
            return ""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"    | {line[:400]}" for line in text)


def tool(name: str) -> str:
    # In a container the same path leads to the same program: /usr is borrowed.
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if not path:
        raise Failure(f"{name} is not installed")
    return path
