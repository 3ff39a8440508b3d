"""Runs containers as processes on one network, watches them, and prints a line for each step."""

import asyncio
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from runtime_check.processes import namespaces
from runtime_check.processes.certificate_authority import Authority
from runtime_check.processes.container import Container, Running, build_root
from runtime_check.processes.namespaces import Failure
from runtime_check.processes.network import Network


class ProcessRunner:
    """Starts, watches and stops containers."""

    def __init__(self, names: list[str], outside: list[str] = ()):
        self.began = time.monotonic()
        self.folder = Path(os.environ[namespaces.FOLDER])
        # Everything but the logs lies in memory, in a mount that only this run sees.
        self.live = self.folder / "live"
        for folder in (self.live, self.folder / "logs"):
            folder.mkdir()
        # nats-server compares the sizes of its streams with this size; the memory is not reserved.
        namespaces.tmpfs(self.live, "755", size="64g")
        for name in ("roots", "volumes"):
            (self.live / name).mkdir()
        self.network = Network(names, outside)
        self.running: dict[str, Running] = {}
        # The authority that every image trusts, like a public one.
        self.public = Authority(self.live / "authorities", "public")
        self.main: asyncio.Task | None = None
        self.broken: Failure | None = None
        self.watchers: set[asyncio.Task] = set()

    def report(self, who: str, what: str) -> None:
        print(f"[{time.monotonic() - self.began:5.1f} s] {who:<22} {what}", flush=True)

    @contextmanager
    def step(self, what: str):
        """Reports a step as passed, with its duration, if its block does not fail."""
        began = time.monotonic()
        yield
        self.report("passed", f"{what} ({time.monotonic() - began:.1f} s)")

    def address(self, name: str) -> str:
        return self.network.addresses[name]

    def volume(self, name: str, owner: tuple[int, int] = (0, 0)) -> Path:
        """Returns a folder that outlives a container, like a named volume."""
        folder = self.live / "volumes" / name
        if not folder.exists():
            folder.mkdir()
            namespaces.change_owner(folder, owner)
        return folder

    def prepare(self, container: Container, names: dict[str, str]) -> Running:
        """Creates the root folder of a container whose hosts file holds these names."""
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
            self.broken = Failure(
                f"{running.container.name} exited with {status} although nothing stopped it:\n{running.tail()}"
            )
            self.main.cancel()

    async def finish(self, running: Running, seconds: float) -> None:
        """Runs a container to completion; fails unless it exits with status 0."""
        running.stopping = True
        await running.start()
        began = time.monotonic()
        name = running.container.name
        try:
            status = await asyncio.wait_for(running.process.wait(), seconds)
        except TimeoutError:
            raise Failure(f"{name} has not exited after {seconds:g} s:\n{running.tail()}") from None
        if status != 0:
            raise Failure(f"{name} exited with {status}:\n{running.tail()}")
        self.report(name, f"completed in {time.monotonic() - began:.1f} s")

    async def healthy(self, running: Running, probe, seconds: float) -> None:
        """Waits until `probe` returns None; a text is the reason why the container is not healthy yet."""
        began = time.monotonic()
        reason = "no probe has run"
        while time.monotonic() - began < seconds:
            reason = await probe()
            if reason is None:
                self.report(running.container.name, f"healthy after {time.monotonic() - began:.1f} s")
                return
            await asyncio.sleep(0.1)
        raise Failure(f"{running.container.name} is not healthy after {seconds:g} s: {reason}\n{running.tail()}")

    def log_tails(self, *services: str) -> Callable[[], str]:
        """Returns a function that returns the last log lines of the containers of these services."""
        running = [one for name, one in self.running.items() if name.startswith(services)]
        return lambda: "\n".join(f"{one.container.name}:\n{one.tail(8)}" for one in running)

    async def stop(self, names: list[str]) -> None:
        """Stops several containers at the same time."""
        durations = await asyncio.gather(*(self.running[name].stop() for name in names))
        for name, seconds in zip(names, durations, strict=True):
            self.report(name, f"stopped in {seconds:.1f} s")


def run_plan(runner: ProcessRunner, plan) -> int:
    """Runs a plan and returns the exit status; keeps the logs only if the plan fails."""

    async def main() -> None:
        runner.main = asyncio.current_task()
        try:
            await plan
        except asyncio.CancelledError:
            raise runner.broken or KeyboardInterrupt from None

    # The kernel ends the processes of a failed run; asyncio would log a warning for each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        asyncio.run(main())
    except (Failure, AssertionError) as failure:
        print(f"\nFAILED: {failure}\n\nlogs: {runner.folder}/logs", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; logs: {runner.folder}/logs", file=sys.stderr, flush=True)
        return 130
    finally:
        namespaces.unmount(runner.live)
        runner.live.rmdir()
    shutil.rmtree(runner.folder / "logs")
    return 0


async def wait_until(what: str, seconds: float, question, why: Callable[[], str] = str):
    """Returns the first true result of `question`; after a timeout, `why` adds the context to the failure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := await asyncio.to_thread(question):
            return answer
        await asyncio.sleep(0.1)
    raise Failure(f"{what}: not within {seconds:g} s\n{why()}")
