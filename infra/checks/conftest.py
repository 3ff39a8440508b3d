"""Distributes the tests over several processes: `--dist loadgroup` runs each file in one of them.

The tests of a file share rendered manifests and servers, so they stay together. pytest puts the folder of this file on
`sys.path`, from where the tests in the folders beside it import `project` and `manifests`.
"""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
