"""The trading scenario: a user signs up, is funded by an operator, and buys; then the ledger is verified."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from runtime_check import users
from runtime_check.processes.container import Container
from runtime_check.processes.namespaces import Failure
from runtime_check.processes.process_runner import ProcessRunner, wait_until
from runtime_check.users import ApiClient

USER_EMAIL, PASSWORD = "bob@example.com", "correct horse battery staple"
ORDER = {"symbol": "BTC-USD", "side": "buy", "type": "market", "funds": "500"}
# The settler decides at once, but this machine may be busy.
PREFER_WAIT = {"prefer": "wait=9"}


async def trade(
    runner: ProcessRunner, client: ApiClient, mails: Path, base: str, operate: Callable[..., Awaitable[str]]
) -> None:
    """Runs the trading scenario. `operate` runs an operator's command and returns its output."""
    log_tails = runner.log_tails("gateway", "trade-settler", "notifier")
    with runner.step("a user signs up, confirms by mail and signs in"):
        account = {"email": USER_EMAIL, "password": PASSWORD}
        await request(client, 202, "POST", "/v1/users", account)
        link = await wait_until("the sign-up mail", 20, lambda: users.link(mails, USER_EMAIL, "join"), log_tails)
        await asyncio.to_thread(client.confirm, link, base)
        session = {"authorization": f"Bearer {(await request(client, 201, 'POST', '/v1/sessions', account))['token']}"}
    with runner.step("an operator funds the account"):
        output = await operate("accounts", "deposit", USER_EMAIL, "1000.00", "USD")
        if f"{USER_EMAIL} now has 1000.00 USD" not in output:
            raise Failure(f"the deposit ended with “{output[-300:]}”")
    with runner.step("an order is filled while its sender waits, and is reported by mail"):
        order = await request(client, 200, "POST", "/v1/orders", ORDER, session | PREFER_WAIT)
        if order["status"] != "filled":
            raise Failure(f"the order is not filled: {order}\n{log_tails()}")
        held = {item["asset"] for item in (await request(client, 200, "GET", "/v1/accounts", None, session))["items"]}
        if held != {"BTC", "USD"}:
            raise Failure(f"the account holds {sorted(held)} after the order")
        bought = await wait_until(
            "the mail about the fill", 20, lambda: users.subject(mails, USER_EMAIL, "Bought"), log_tails
        )
        runner.report("", f"“{bought}”")
    with runner.step("an operator verifies the ledger"):
        output = await operate("ledger", "verify", "--json")
        # A deposit and a fill.
        if not all(part in output for part in ('"ok":true', '"postings":2', '"orders":1', '"stream_orders":1')):
            raise Failure(f"tickbell ledger verify printed “{output[-600:]}”")


async def request(client: ApiClient, status: int, method: str, path: str, body=None, headers=None) -> dict:
    """Sends a request and returns the parsed body; fails on any other status."""
    answer = await asyncio.to_thread(client.request, method, path, body, headers)
    if answer.status != status:
        raise Failure(f"{method} {path} was answered with {answer.status}: {answer.body[:500]}")
    return json.loads(answer.body)


def operator(
    runner: ProcessRunner, container: Container, names: dict[str, str], variables: dict[str, str]
) -> Callable[..., Awaitable[str]]:
    """Returns a function that runs a command in a copy of a container with additional variables."""
    environment = container.environment | variables

    async def operate(*words: str) -> str:
        name = f"{container.name}-{words[0]}"
        command = [container.command[0], *words]
        network = container.network or container.name
        once = dataclasses.replace(container, name=name, network=network, command=command, environment=environment)
        running = runner.prepare(once, names)
        await runner.finish(running, 60)
        return running.log.read_text(errors="replace")

    return operate
