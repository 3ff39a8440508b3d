"""`make check-cluster`: in a network and a hosts file of its own, which the kernel removes when the run ends."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)
sys.path.append(str(HERE.parent / "operations"))
INSIDE = "TICKBELL_CLUSTER_CHECK_FOLDER"


def main() -> int:
    if INSIDE in os.environ:
        return walk(Path(os.environ[INSIDE]))
    folder = tempfile.mkdtemp(prefix="tickbell-cluster-check-")
    hosts = Path(folder, "hosts")
    hosts.touch()
    inside = 'ip link set lo up && mount --bind "$1" /etc/hosts && shift && exec "$@"'
    spaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"]
    command = ["unshare", *spaces, "--", "sh", "-c", inside, "sh", hosts, sys.executable, HERE]
    status = subprocess.run([str(word) for word in command], env=os.environ | {INSIDE: folder}, check=False).returncode
    # The logs of a failed walk are kept.
    if status == 0:
        shutil.rmtree(folder)
    return status


def walk(folder: Path) -> int:
    from fake_cluster import History

    from cluster_check import walk as steps

    return steps.run(folder, History)


sys.exit(main())
