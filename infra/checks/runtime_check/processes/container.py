"""A container as a process: its root folder, user and environment, and how to run commands in it and stop it."""

import asyncio
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from runtime_check.processes import namespaces
from runtime_check.processes.namespaces import Failure

# The folders of an Alpine or Debian image that are mounted from this machine, and those that are created empty.
HOST_FOLDERS = ("usr", "bin", "sbin", "lib", "lib64")
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
    """A file or folder of this machine at a path of a container; without a source, a tmpfs."""

    target: str
    source: Path | None = None
    read_only: bool = False


@dataclass
class Container:
    """A container to run, whether compose.yaml or a pod describes it."""

    name: str
    command: list[str]
    # The container whose network namespace this one shares, if any.
    network: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: tuple[int, int] = (0, 0)
    workdir: str = "/"
    read_only: bool = False
    # Drops all capabilities and sets no-new-privileges.
    no_capabilities: bool = False
    mounts: list[Mount] = field(default_factory=list)
    # Folders of the image that belong to its user.
    folders: list[str] = field(default_factory=list)
    # Programs of the image: their name in the container to their path on this machine.
    programs: dict[str, Path] = field(default_factory=dict)
    # Folders of this machine that these programs need at the same path.
    libraries: list[Path] = field(default_factory=list)
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10
    # Our own program must exit with status 0; others must only exit.
    own_program: bool = False


def build_root(container: Container, root: Path, hosts: str, authorities: str) -> None:
    """Creates the root folder of a container, with its mounts."""
    root.mkdir()
    namespaces.tmpfs(root, "755")
    for name in EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    bind_host_folders(root)
    for name in DEVICES:
        (root / "dev" / name).touch()
        namespaces.bind(Path("/dev") / name, root / "dev" / name, read_only=False)
    (root / "dev/shm").mkdir()
    namespaces.tmpfs(root / "dev/shm", "1777")
    namespaces.bind(Path("/proc"), root / "proc", read_only=False)
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
        namespaces.change_owner(root / name.lstrip("/"), container.user)
    for wanted in sorted(container.mounts, key=lambda mount: mount.target.count("/")):
        add_mount(root, wanted)
    # Last, because a library may lie below a path that a mount of the container covers.
    for library in container.libraries:
        add_mount(root, Mount(str(library), library, read_only=True))
    if container.read_only:
        namespaces.make_read_only(root)


def bind_host_folders(root: Path) -> None:
    for name in HOST_FOLDERS:
        here = Path("/") / name
        if here.is_symlink():
            (root / name).symlink_to(here.readlink())
        elif here.is_dir():
            (root / name).mkdir()
            namespaces.bind(here, root / name, read_only=True)


def add_programs(root: Path, programs: dict[str, Path]) -> None:
    """Mounts programs at /usr/local/bin, or at the absolute path that is their name."""
    namespaces.tmpfs(root / "usr/local/bin", "755")
    for name, source in programs.items():
        target = root / name.lstrip("/") if name.startswith("/") else root / "usr/local/bin" / name
        target.touch()
        namespaces.bind(source.resolve(), target, read_only=True)


def add_mount(root: Path, wanted: Mount) -> None:
    target = root / wanted.target.strip("/")
    try:
        if wanted.source is not None and wanted.source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        else:
            target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot mount at {wanted.target}: {error.strerror}") from error
    if wanted.source is None:
        namespaces.tmpfs(target, "1777")
    else:
        namespaces.bind(wanted.source, target, wanted.read_only)


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
        """Returns the command prefix that runs a command inside the container."""
        (user, group), no_capabilities = self.container.user, self.container.no_capabilities
        network = [tool("nsenter"), f"--net=/run/netns/{self.container.network or self.container.name}"]
        if namespaces.has_users():
            drop = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"] if no_capabilities else []
            inside = [f"--root={self.root}", f"--wd={self.root}{self.container.workdir}", "--"]
            return [*network, *inside, tool("setpriv"), f"--reuid={user}", f"--regid={group}", "--clear-groups", *drop]
        # A process that has changed its root may not create a user namespace, so one call does both.
        names = [f"--map-user={user}", f"--map-group={group}", f"--root={self.root}", f"--wd={self.container.workdir}"]
        no_new_privileges = [tool("setpriv"), "--no-new-privs"] if no_capabilities else []
        return [*network, "--", tool("unshare"), "--user", *names, "--", *no_new_privileges]

    async def run(self, command: list[str], timeout: float) -> tuple[int | None, str]:
        """Runs another command in the container, as `docker exec` does. The status is None after a timeout."""
        process = await self.spawn(command, asyncio.subprocess.PIPE)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            return None, f"no answer in {timeout:g} s"
        return process.returncode, output.decode(errors="replace").strip()

    async def stop(self) -> float:
        """Stops the container and returns the seconds that took. Fails after the grace period or on a failure status."""
        self.stopping = True
        clock = asyncio.get_running_loop().time
        began = clock()
        self.process.send_signal(self.container.stop_signal)
        try:
            status = await asyncio.wait_for(self.process.wait(), self.container.grace)
        except TimeoutError:
            self.process.kill()
            raise Failure(
                f"{self.container.name} has not exited {self.container.grace:g} s after {self.container.stop_signal.name}"
                f"\n{self.tail()}"
            ) from None
        if self.container.own_program and status != 0:
            raise Failure(f"{self.container.name} exited with status {status} after it was stopped\n{self.tail()}")
        return clock() - began

    def tail(self, lines: int = 25) -> str:
        if not self.log.exists():
            return ""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"    | {line[:400]}" for line in text)


def tool(name: str) -> str:
    # The path is valid inside a container as well, because /usr is mounted from this machine.
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if not path:
        raise Failure(f"{name} is not installed")
    return path
