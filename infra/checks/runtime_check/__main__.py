"""`python3 infra/checks/runtime_check compose|production|broker [--keep]`: runs the containers as processes and tests them."""

import argparse
import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)

# The line above makes the package importable.
from runtime_check.processes import namespaces


def main() -> int:
    parser = argparse.ArgumentParser(prog="runtime_check", description=__doc__)
    parser.add_argument("which", choices=("compose", "production", "broker"))
    parser.add_argument(
        "--keep", action="store_true", help="keep everything running until Ctrl-C, with the API on this machine"
    )
    arguments = parser.parse_args()
    if not namespaces.is_inside():
        if arguments.keep:
            publish()
        return namespaces.enter(HERE, sys.argv[1:])
    from runtime_check import (  # these need PyYAML, which the interpreter inside has
        broker,
        compose_run,
        production,
    )

    try:
        plans = {"compose": compose_run, "production": production, "broker": broker}
        return plans[arguments.which].run(arguments.keep)
    except (namespaces.Failure, AssertionError) as failure:
        print(f"\nFAILED: {failure}", file=sys.stderr)
        return 1


def publish() -> None:
    """Opens the API's port in the host's network: a socket stays in the network namespace that it was made in."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", 8080))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.set_inheritable(True)
    os.environ["TICKBELL_RUNTIME_CHECK_LISTENER"] = str(listener.detach())


status = main()
sys.stdout.flush()
# The kernel ends what still runs inside together with this process, so nothing waits for it.
os._exit(status)
