"""`python3 infra/checks/wiring compose|production [--keep]`: starts everything as processes and proves that it works."""

import argparse
import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)

from wiring import corner  # the package is found through the line above


def main() -> int:
    parser = argparse.ArgumentParser(prog="wiring", description=__doc__)
    parser.add_argument("which", choices=("compose", "production"))
    parser.add_argument(
        "--keep", action="store_true", help="leave it running until Ctrl-C, with the API on this machine"
    )
    arguments = parser.parse_args()
    if not corner.is_inside():
        if arguments.keep:
            publish()
        return corner.enter(HERE, sys.argv[1:])
    from wiring import (  # need PyYAML, which the Python inside has
        compose_run,
        production,
    )

    try:
        return {"compose": compose_run, "production": production}[arguments.which].run(arguments.keep)
    except (corner.Failure, AssertionError) as failure:
        print(f"\nFAILED: {failure}", file=sys.stderr)
        return 1


def publish() -> None:
    """Opens the API's port where people are: a socket stays in the network that it was made in."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", 8080))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.set_inheritable(True)
    os.environ["TICKBELL_WIRING_LISTENER"] = str(listener.detach())


status = main()
sys.stdout.flush()
# Whatever still runs inside ends with us, and nobody waits for it.
os._exit(status)
