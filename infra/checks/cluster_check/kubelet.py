"""Plays what a control plane lacks: says that pods are ready and Jobs complete, and fills Secrets as operators would."""

import base64
import threading
import time
import urllib.error

from cluster_check.control_plane import ControlPlane

# The kinds that an operator makes ready, whose programs are not here.
OPERATED = {
    "ExternalSecret": "/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets",
    "Cluster": "/apis/postgresql.cnpg.io/v1/namespaces/{namespace}/clusters",
}


class Kubelet(threading.Thread):
    """Runs beside the walk. Pods of the services in `broken` never become ready, and Jobs of that name fail."""

    def __init__(self, cluster: ControlPlane, secrets: dict[str, dict[str, str]], namespaces: list[str]):
        super().__init__(daemon=True)
        self.cluster, self.secrets, self.namespaces = cluster, secrets, namespaces
        self.broken: set[str] = set()

    def run(self) -> None:
        while True:
            for namespace in self.namespaces:
                try:
                    self.pods(namespace)
                    self.operators(namespace)
                except (OSError, urllib.error.URLError):
                    pass  # The namespace, the kind or the object is not there yet; the next round sees it.
            time.sleep(0.2)

    def pods(self, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods"
        for pod in self.cluster.call("GET", path)["items"]:
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"]:
                gone = {"gracePeriodSeconds": 0, "kind": "DeleteOptions", "apiVersion": "v1"}
                self.cluster.call("DELETE", f"{path}/{name}", gone)
                continue
            service = pod["metadata"]["labels"].get("app.kubernetes.io/name", "")
            is_job = pod["spec"]["restartPolicy"] == "Never"
            if is_job:
                phase = "Failed" if service in self.broken else "Succeeded"
            else:
                phase = "Running"
            ready = "True" if phase == "Running" and service not in self.broken else "False"
            if pod["status"].get("phase") != phase or ready_of(pod) != ready:
                condition = {"type": "Ready", "status": ready, "lastTransitionTime": now()}
                status = {"phase": phase, "conditions": [condition]}
                self.cluster.merge(f"{path}/{name}/status", {"status": status})

    def operators(self, namespace: str) -> None:
        for kind, template in OPERATED.items():
            path = template.format(namespace=namespace)
            for item in self.cluster.call("GET", path)["items"]:
                if item.get("status"):
                    continue
                if kind == "ExternalSecret":
                    self.fill(namespace, item["spec"]["target"]["name"])
                condition = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
                name = item["metadata"]["name"]
                self.cluster.merge(f"{path}/{name}/status", {"status": {"conditions": [condition]}})

    def fill(self, namespace: str, name: str) -> None:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in self.secrets.get(name, {}).items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        try:
            self.cluster.call("POST", f"/api/v1/namespaces/{namespace}/secrets", body)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise


def ready_of(pod: dict) -> str:
    found = [item["status"] for item in pod["status"].get("conditions", []) if item["type"] == "Ready"]
    return found[0] if found else ""


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
