"""What compose.yaml and the production overlay must both do: a subscription, its alert, and no refused access."""

import asyncio
import os
import socket
from pathlib import Path

from runtime_check import compose, users
from runtime_check.processes import images
from runtime_check.processes.container import Container
from runtime_check.processes.namespaces import Failure
from runtime_check.processes.process_runner import ProcessRunner, wait_until
from runtime_check.users import ApiClient

USER_EMAIL = "ada@example.com"


async def smoke(runner: ProcessRunner, network: str, names: dict[str, str], gateway: str = "gateway") -> None:
    """Runs `tickbell smoke` as a container beside the others."""
    image = images.tickbell_image()
    command = [*image.entrypoint, "smoke", f"http://{gateway}:8080"]
    container = Container(
        f"smoke-{gateway}",
        command,
        network,
        environment=dict(image.environment),
        user=compose.user(image.user),
        workdir=image.workdir,
        read_only=True,
        no_capabilities=True,
        programs=image.programs,
        own_program=True,
    )
    with runner.step(" ".join(command[1:])):
        await runner.finish(runner.prepare(container, names), 60)


async def subscribe_and_receive_alert(runner: ProcessRunner, client: ApiClient, mails: Path, base: str) -> None:
    """Subscribes, confirms the subscription by the link in the mail, and waits for the alert mail."""
    with runner.step("a subscription is confirmed by the link in the mail"):
        await asyncio.to_thread(client.subscribe, USER_EMAIL)
        link = await wait_until(
            "the confirmation mail", 20, lambda: users.link(mails, USER_EMAIL), runner.log_tails("notifier")
        )
        await asyncio.to_thread(client.confirm, link, base)
    with runner.step("an alert arrives by mail"):
        log_tails = runner.log_tails("price-ingestor", "alert-engine", "notifier")
        runner.report(
            "", "“" + await wait_until("an alert mail", 20, lambda: users.alert(mails, USER_EMAIL), log_tails) + "”"
        )


def check_no_refusals(runner: ProcessRunner) -> None:
    """Checks the servers' logs: no client was refused a login, a subject or a table."""
    refusals = {
        "nats": ("Violation", "[ERR]"),
        "postgres": ("permission denied", "authentication failed", "no pg_hba.conf entry", "pg_hba.conf rejects"),
    }
    with runner.step("NATS and PostgreSQL refused no access"):
        for name, words in refusals.items():
            log = runner.running[name].log.read_text(errors="replace")
            if found := [line for line in log.splitlines() if any(word in line for word in words)]:
                raise Failure(f"{name} logged\n" + "\n".join(found[:10]))


def scrape(runner: ProcessRunner, name: str, scraper: str | None = None) -> str:
    """Returns /metrics of a container, requested from the network of `scraper` or from the node."""
    client = ApiClient(runner.address(name), port=8081)
    if scraper:
        client.run_in_network = lambda function: runner.network.run_in(scraper, function)
    answer = client.request("GET", "/metrics")
    if answer.status != 200:
        raise Failure(f"/metrics of {name} was answered with {answer.status}")
    return answer.body


async def keep_running(runner: ProcessRunner, gateway: str) -> None:
    """Keeps everything running until Ctrl-C, with the API on the port that was opened before the namespaces."""
    listener = socket.socket(fileno=int(os.environ["TICKBELL_RUNTIME_CHECK_LISTENER"]))
    host, port = listener.getsockname()

    async def forward(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection(gateway, 8080)
        await asyncio.gather(copy(reader, upstream_writer), copy(upstream_reader, writer))

    async def copy(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(forward, sock=listener)
    runner.report("", f"the API is at http://{host}:{port}, logs are in {runner.folder}/logs; Ctrl-C ends it")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(2, stopped.set)
    await stopped.wait()
    server.close()
