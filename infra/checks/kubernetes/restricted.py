"""The Pod Security Standard `restricted`, and our own stricter rules, for the spec of a pod."""

import json

from manifests import containers

IMAGE = "ghcr.io/tickbell/tickbell"


def violations(pod: dict) -> list[str]:
    """Returns how a pod violates the Pod Security Standard `restricted` and our own stricter rules."""
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if pod.get(key)]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [f"volume {volume}" for volume in pod.get("volumes", []) if not set(volume) - {"name"} <= allowed]
    whole = pod.get("securityContext", {})
    safe = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"}
    found += [f"sysctl {item}" for item in whole.get("sysctls", []) if item["name"] not in safe]
    found += [f"{key} is set" for key in ("seLinuxOptions", "windowsOptions", "appArmorProfile") if key in whole]
    if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
        found.append("a service-account token or service links")
    for container in containers(pod):
        found += [f"{container['name']}: {what}" for what in container_violations(container, whole)]
    return found


def container_violations(container: dict, whole: dict) -> list[str]:
    own = container.get("securityContext", {})
    context = whole | own
    wrong = {
        "privileged": own.get("privileged", False),
        "escalation": own.get("allowPrivilegeEscalation") is not False,
        "capabilities": own.get("capabilities") != {"drop": ["ALL"]},
        "root": context.get("runAsNonRoot") is not True or context.get("runAsUser", 0) == 0,
        "seccomp": context.get("seccompProfile") != {"type": "RuntimeDefault"},
        "procMount": "procMount" in own,
        "options": bool({"seLinuxOptions", "windowsOptions", "appArmorProfile"} & set(own)),
        "host port": any("hostPort" in port for port in container.get("ports", [])),
        "probe of another host": '"host"' in json.dumps([value for key, value in container.items() if "Probe" in key]),
        "writable root": own.get("readOnlyRootFilesystem") is not True,
        "bounds": any(set(container["resources"].get(key, {})) != {"cpu", "memory"} for key in ("requests", "limits")),
        "another user": container["image"].startswith(IMAGE) and context["runAsUser"] != 10001,
    }
    return [what for what, is_so in wrong.items() if is_so]
