"""What runs at the moment: containers on one network, watched, with a line of progress for each step."""

import asyncio
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from wiring import corner
from wiring.authority import Authority
from wiring.container import Container, Running, build_root
from wiring.corner import Failure
from wiring.network import Network


class Stage:
    """Starts, watches and stops containers. `hosts` names who each one can find: name to names and addresses."""

    def __init__(self, names: list[str], outside: list[str] = ()):
        self.began = time.monotonic()
        self.folder = Path(os.environ[corner.FOLDER])
        # Everything but the logs lies in memory, and only we see it.
        self.live = self.folder / "live"
        for folder in (self.live, self.folder / "logs"):
            folder.mkdir()
        # The size is only what nats-server measures its streams against.
        corner.tmpfs(self.live, "755", size="64g")
        for name in ("roots", "volumes"):
            (self.live / name).mkdir()
        self.network = Network(names, outside)
        self.running: dict[str, Running] = {}
        # The authority that every image trusts, as one of the public ones.
        self.public = Authority(self.live / "authorities", "public")
        self.main: asyncio.Task | None = None
        self.broken: Failure | None = None
        self.watchers: set[asyncio.Task] = set()

    def say(self, who: str, what: str) -> None:
        print(f"[{time.monotonic() - self.began:5.1f} s] {who:<22} {what}", flush=True)

    @contextmanager
    def step(self, what: str):
        """One thing that is proven."""
        began = time.monotonic()
        yield
        self.say("proven", f"{what} ({time.monotonic() - began:.1f} s)")

    def address(self, name: str) -> str:
        return self.network.addresses[name]

    def volume(self, name: str, owner: tuple[int, int] = (0, 0)) -> Path:
        """A folder that outlives a container, like a named volume."""
        folder = self.live / "volumes" / name
        if not folder.exists():
            folder.mkdir()
            corner.own(folder, owner)
        return folder

    def prepare(self, container: Container, names: dict[str, str]) -> Running:
        """Makes the root of a container that knows others by these names."""
        lines = [f"127.0.0.1 localhost\n{self.address(container.network or container.name)} {container.name}\n"]
        lines += [f"{address} {name}\n" for name, address in names.items() if name != container.name]
        root = self.live / "roots" / container.name
        build_root(container, root, "".join(lines), self.public.text)
        running = Running(container, root, self.folder / "logs" / f"{container.name}.log")
        self.running[container.name] = running
        return running

    async def start(self, running: Running) -> None:
        await running.start()
        watcher = asyncio.create_task(self.watch(running))
        self.watchers.add(watcher)

    async def watch(self, running: Running) -> None:
        status = await running.process.wait()
        if not running.stopping and self.broken is None:
            self.broken = Failure(f"{running.container.name} ended with {status} by itself:\n{running.tail()}")
            self.main.cancel()

    async def finish(self, running: Running, seconds: float) -> None:
        """Runs a container that is to end by itself with status 0."""
        running.stopping = True
        await running.start()
        began = time.monotonic()
        name = running.container.name
        try:
            status = await asyncio.wait_for(running.process.wait(), seconds)
        except TimeoutError:
            raise Failure(f"{name} has not ended after {seconds:g} s:\n{running.tail()}") from None
        if status != 0:
            raise Failure(f"{name} ended with {status}:\n{running.tail()}")
        self.say(name, f"completed in {time.monotonic() - began:.1f} s")

    async def healthy(self, running: Running, question, seconds: float) -> None:
        """Waits until `question` answers without a complaint."""
        began = time.monotonic()
        complaint = "was not asked"
        while time.monotonic() - began < seconds:
            complaint = await question()
            if complaint is None:
                self.say(running.container.name, f"healthy after {time.monotonic() - began:.1f} s")
                return
            await asyncio.sleep(0.1)
        raise Failure(f"{running.container.name} is not healthy after {seconds:g} s: {complaint}\n{running.tail()}")

    def tails(self, *roles: str) -> Callable[[], str]:
        """What the containers of these roles said last, for whoever needs it."""
        running = [one for name, one in self.running.items() if name.startswith(roles)]
        return lambda: "\n".join(f"{one.container.name}:\n{one.tail(8)}" for one in running)

    async def stop(self, names: list[str]) -> None:
        """Stops these at the same time."""
        took = await asyncio.gather(*(self.running[name].stop() for name in names))
        for name, seconds in zip(names, took, strict=True):
            self.say(name, f"stopped in {seconds:.1f} s")


def perform(stage: Stage, plan) -> int:
    """Does what the plan says and reports; the logs are kept only when it fails."""

    async def main() -> None:
        stage.main = asyncio.current_task()
        try:
            await plan
        except asyncio.CancelledError:
            raise stage.broken or KeyboardInterrupt from None

    # A run that fails leaves its processes to the kernel; asyncio would complain of each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        asyncio.run(main())
    except (Failure, AssertionError) as failure:
        print(f"\nFAILED: {failure}\n\nlogs: {stage.folder}/logs", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; logs: {stage.folder}/logs", file=sys.stderr, flush=True)
        return 130
    finally:
        corner.unmount(stage.live)
        stage.live.rmdir()
    shutil.rmtree(stage.folder / "logs")
    return 0


async def until(what: str, seconds: float, question, why: Callable[[], str] = str):
    """The first answer of `question` that says something; `why` says more when there is none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := await asyncio.to_thread(question):
            return answer
        await asyncio.sleep(0.1)
    raise Failure(f"{what}: not within {seconds:g} s\n{why()}")
