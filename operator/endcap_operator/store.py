# SPDX-License-Identifier: Apache-2.0
"""What the cluster looked like when it was last heard of: our resources, their children and their pods.

Filled by the informer, by full lists (at the start and on every resync, since a watch that was cut may hide a
deletion) and by the answers to our own writes, so that our own echo never looks like news. An older version of an
object never replaces a newer one, whichever way it came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from endcap_operator.keys import Key, Manifest, key_of
from endcap_operator.manifests.identity import COMPONENT, COMPONENTS, INSTANCE, KIND_OF_COMPONENT

Family = tuple[str, str, str]
Names = Callable[[Manifest], Iterable[Key]]


def _nothing(_: Manifest) -> Iterable[Key]:
    return ()


class Store:
    """Objects by key, with the members of each resource's family (its children, ReplicaSets and pods) at hand.

    `names` tells which resources a resource of ours names; so it is known who is named by whom as soon as an object is.
    """

    def __init__(self, names: Names = _nothing) -> None:
        self._names = names
        self._objects: dict[Key, Manifest] = {}
        self._families: defaultdict[Family, set[Key]] = defaultdict(set)
        self._callers: defaultdict[Key, set[Key]] = defaultdict(set)
        self._called: dict[Key, set[Key]] = {}
        self._neighbours: defaultdict[tuple[str, str], set[Key]] = defaultdict(set)

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
        if key.kind in COMPONENTS:
            self._neighbours[key.kind, key.namespace].add(key)
        if key.kind in COMPONENTS and (known is None or _generation(known) != _generation(slim)):
            self._refer(key, self._names(slim))
        return True

    def remove(self, key: Key) -> bool:
        """Whether it was there."""
        known = self._objects.pop(key, None)
        if known is not None:
            self._leave(key, known)
            self._refer(key, ())
            self._neighbours[key.kind, key.namespace].discard(key)
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

    def neighbours(self, kind: str, namespace: str) -> list[Key]:
        """The resources of a kind of ours in a namespace."""
        return sorted(self._neighbours.get((kind, namespace), ()))

    def family(self, key: Key) -> list[Manifest]:
        """All that carries the labels of a resource's children, whoever made it."""
        families = [(key.namespace, component, key.name) for component in COMPONENTS[key.kind]]
        return [self._objects[k] for family in families for k in self._families.get(family, ())]

    def _refer(self, caller: Key, called: Iterable[Key]) -> None:
        for key in self._called.pop(caller, ()):
            self._callers[key].discard(caller)
            if not self._callers[key]:
                del self._callers[key]
        self._called[caller] = set(called)
        for key in self._called[caller]:
            self._callers[key].add(caller)
        if not self._called[caller]:
            del self._called[caller]

    def callers(self, key: Key) -> set[Key]:
        """The resources that name one."""
        return set(self._callers.get(key, ()))

    def called(self, key: Key) -> set[Key]:
        """The resources that one names, whether or not they exist."""
        return set(self._called.get(key, ()))


def _generation(manifest: Manifest) -> Any:
    return manifest["metadata"].get("generation")


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
