# SPDX-License-Identifier: Apache-2.0
"""The experiments of a run as other commands ask for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from endcap_cli.run.course import Course
from endcap_cli.run.graph import Graph
from endcap_cli.workspace import Name, Workspace


def told(
    workspace: Workspace, courses: Mapping[Name, Course], graphs: Mapping[Name, Graph]
) -> Iterator[dict[str, Any]]:
    """Each as a cluster would have it: the object, what is kept of it, and what its graph serves of it."""
    for name, course in courses.items():
        spec = workspace.experiments[name]
        graph = graphs.get(Name(name.namespace, spec.graph))
        served = (graph.config.experiments or {}).get(name.name) if graph else None
        yield {
            "namespace": name.namespace,
            "name": name.name,
            "uid": course.uid,
            "spec": spec.dump(),
            "status": dict(course.status),
            "data": dict(course.data),
            "graph": graph.config.spec.dump() if graph else None,
            "served": served.dump() if served else None,
        }
