"""Containers as processes: images, namespaces, networks, and the runner that starts and watches them."""
