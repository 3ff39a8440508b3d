"""Runs compose.yaml and the production overlay as real processes, for machines without a Docker engine.

Every container becomes a process with its own network namespace, address, hosts file, root folder and user, so that
names, ports and paths are used as they are written. `__main__.py` is the command, `scenarios.py` and `trading.py` hold
what both configurations must do.
"""
