# SPDX-License-Identifier: Apache-2.0
"""What the cluster looked like when it was last heard of: our resources, their children and their pods.

Filled by the informer, by full lists (at the start and on every resync, since a watch that was cut may hide a
deletion) and by the answers to our own writes, so that our own echo never looks like news. An older version of an
object never replaces a newer one, whichever way it came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from endcap_operator.keys import Key, Manifest, key_of
from endcap_operator.manifests.identity import COMPONENT, COMPONENTS, INSTANCE, KIND_OF_COMPONENT

Family = tuple[str, str, str]


class Store:
    """Objects by key, with the members of each resource's family (its children, ReplicaSets and pods) at hand."""

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}
        self._families: defaultdict[Family, set[Key]] = defaultdict(set)
        self._callers: defaultdict[Key, set[Key]] = defaultdict(set)
        self._called: dict[Key, set[Key]] = {}

    def get(self, key: Key) -> Manifest | None:
        return self._objects.get(key)

    def put(self, manifest: Manifest) -> bool:
        """Whether this is news; `manifest` has a resourceVersion."""
        key, slim = key_of(manifest), _slim(manifest)
        known = self._objects.get(key)
        if known is not None and version_of(known) >= version_of(slim):
            return False
        if known is not None:
            self._leave(key, known)
        self._objects[key] = slim
        self._families[family_of(slim)].add(key)
        return True

    def remove(self, key: Key) -> bool:
        """Whether it was there."""
        known = self._objects.pop(key, None)
        if known is not None:
            self._leave(key, known)
        return known is not None

    def _leave(self, key: Key, manifest: Manifest) -> None:
        members = self._families[family_of(manifest)]
        members.discard(key)
        if not members:
            del self._families[family_of(manifest)]

    def replace(self, kind: str, listed: Iterable[Manifest], version: int) -> set[Key]:
        """Make a full list of a kind, taken at a version, what is known of it; the keys that this changed."""
        objects = {key_of(manifest): manifest for manifest in listed}
        changed = {key for key, manifest in objects.items() if self.put(manifest)}
        gone = [
            k
            for k, m in self._objects.items()
            if k.kind == kind and k not in objects and version_of(m) <= version
        ]
        return changed | {key for key in gone if self.remove(key)}

    def keys(self, kinds: Iterable[str]) -> list[Key]:
        wanted = set(kinds)
        return [key for key in self._objects if key.kind in wanted]

    def family(self, key: Key) -> list[Manifest]:
        """All that carries the labels of a resource's children, whoever made it."""
        return [
            self._objects[k] for k in self._families.get((key.namespace, COMPONENTS[key.kind], key.name), ())
        ]

    def refer(self, caller: Key, called: Iterable[Key]) -> None:
        """Remember whom a resource names, to be asked by `callers`."""
        for key in self._called.pop(caller, ()):
            self._callers[key].discard(caller)
        self._called[caller] = set(called)
        for key in self._called[caller]:
            self._callers[key].add(caller)

    def callers(self, key: Key) -> set[Key]:
        return set(self._callers.get(key, ()))


def version_of(manifest: Manifest) -> int:
    return int(manifest["metadata"]["resourceVersion"])


def family_of(manifest: Manifest) -> Family:
    labels = manifest["metadata"].get("labels") or {}
    return manifest["metadata"]["namespace"], labels.get(COMPONENT, ""), labels.get(INSTANCE, "")


def owner_key(manifest: Manifest) -> Key | None:
    """The resource whose labels an object carries; they are a hint, never a proof."""
    namespace, component, instance = family_of(manifest)
    kind = KIND_OF_COMPONENT.get(component)
    return Key(kind, namespace, instance) if kind and instance else None


def _slim(manifest: Manifest) -> Manifest:
    """What is never looked at is most of an object's size."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    if manifest["kind"] == "ReplicaSet":
        return {"kind": "ReplicaSet", "metadata": metadata}
    return {**manifest, "metadata": metadata}
