#!/usr/bin/env python3
"""Checks the manifests under deploy/kubernetes: that each is YAML, and that every pod confines
itself, says what it takes of the machine, and gets no variables of services, which would look
like settings of the node.

Says each finding with file, kind, name and container, and fails if there is one.
"""
import pathlib
import sys

import yaml

ROOT = pathlib.Path("deploy/kubernetes")


def pod_of(document):
    """The pod's specification in a manifest, or None."""
    if not isinstance(document, dict):
        return None
    spec = document.get("spec") or {}
    if document.get("kind") == "Pod":
        return spec
    if document.get("kind") == "CronJob":
        spec = spec.get("jobTemplate", {}).get("spec", {})
    return (spec.get("template") or {}).get("spec")


def of_pod(pod):
    security = pod.get("securityContext") or {}
    if pod.get("enableServiceLinks") is not False:
        yield "lacks `enableServiceLinks: false`"
    if pod.get("automountServiceAccountToken") is not False:
        yield "lacks `automountServiceAccountToken: false`"
    if security.get("runAsNonRoot") is not True:
        yield "lacks `securityContext.runAsNonRoot: true`"
    if (security.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "lacks `securityContext.seccompProfile.type: RuntimeDefault`"


def of_container(container):
    security = container.get("securityContext") or {}
    resources = container.get("resources") or {}
    if security.get("allowPrivilegeEscalation") is not False:
        yield "lacks `allowPrivilegeEscalation: false`"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "lacks `readOnlyRootFilesystem: true`"
    if (security.get("capabilities") or {}).get("drop") != ["ALL"]:
        yield "lacks `capabilities.drop: [ALL]`"
    if not container.get("imagePullPolicy"):
        yield "lacks `imagePullPolicy`"
    for kind in ("requests", "limits"):
        for name in ("cpu", "memory"):
            if not (resources.get(kind) or {}).get(name):
                yield f"lacks `resources.{kind}.{name}`"


def findings(document):
    pod = pod_of(document)
    if pod is None:
        return
    where = f"{document['kind']} {document['metadata']['name']}"
    for finding in of_pod(pod):
        yield f"{where}: {finding}"
    for container in (pod.get("initContainers") or []) + (pod.get("containers") or []):
        for finding in of_container(container):
            yield f"{where}, container {container['name']}: {finding}"


def main():
    failed = pods = 0
    for path in sorted(pathlib.Path("deploy").rglob("*.y*ml")):
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except yaml.YAMLError as error:
            print(f"{path}: {error}")
            failed += 1
            continue
        if ROOT not in path.parents:
            continue
        for document in documents:
            pods += pod_of(document) is not None
            for finding in findings(document):
                print(f"{path}: {finding}")
                failed += 1
    if pods == 0:
        print(f"{ROOT}: no pod was found, so that nothing was checked")
        failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
