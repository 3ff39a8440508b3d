"""Proves the wiring of compose.yaml and of the production overlay by real processes, where there is no Docker engine.

Every container becomes a process with its own network namespace, address, hosts file, root folder and user, so that
names, ports and paths are used as they are written. `__main__.py` is the command, `proofs.py` says what is proven.
"""
