# SPDX-License-Identifier: Apache-2.0
"""The CRDs on a real API server: what it accepts, what it refuses, and in which words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from builders import changed, graph, intent, ranker, recaller
from endcap_cluster.errors import ClusterError
from experiment_builders import experiment, measured, shadow
from experiment_refusals import OVERLAYS
from installed import Kubectl, dry_run
from refusals import MEANING, SHAPE, Refusal
from view_refusals import BUNDLES, JOINED, LOOKUPS, VIEWS
from views import activity, bundle, popularity, sound, store

from endcap_api.structural import structural_schema
from endcap_api.v1alpha1.kinds import KINDS, Kind


def test_the_api_server_finds_nothing_to_say_about_the_crds(kube: Kubectl) -> None:
    for kind in KINDS.values():
        conditions = json.loads(kube("get", "crd", kind.crd, "--output=json"))["status"]["conditions"]
        states = {condition["type"]: condition["status"] for condition in conditions}
        assert states["Established"] == "True"
        assert states["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in states


@pytest.mark.parametrize(
    "manifest",
    [ranker(), recaller(), intent(), graph(), *sound(), experiment(), measured(), shadow()],
    ids=lambda m: m["metadata"]["name"],
)
def test_sound_resources_are_accepted(kube: Kubectl, manifest: dict[str, Any]) -> None:
    assert "created (server dry run)" in dry_run(kube, manifest)


@pytest.mark.parametrize("bad", SHAPE, ids=lambda bad: bad.name)
def test_a_bad_shape_is_refused_by_field_and_remedy(kube: Kubectl, bad: Refusal) -> None:
    answer = dry_run(kube, bad.manifest)
    assert answer.startswith("refused: ")
    assert bad.field in re.sub(r"\[([a-z_]+)\]", r".\1", answer)  # the server spells keys of maps as [key]
    assert bad.words in answer


@pytest.mark.parametrize(
    "bad", [*MEANING, *VIEWS, *BUNDLES, *LOOKUPS, *JOINED, *OVERLAYS], ids=lambda bad: bad.name
)
def test_what_only_the_operator_can_judge_has_a_sound_shape(kube: Kubectl, bad: Refusal) -> None:
    assert "created (server dry run)" in dry_run(kube, bad.manifest)


@pytest.mark.parametrize(
    "manifest",
    [ranker(), graph(), store(embedded={}), popularity(), bundle(), experiment(), measured()],
    ids=lambda m: m["kind"],
)
def test_the_defaults_of_the_api_server_are_those_of_the_models(
    kube: Kubectl, manifest: dict[str, Any]
) -> None:
    stored = json.loads(
        kube("create", "--dry-run=server", "--output=json", "--filename=-", manifest=manifest)
    )
    ours = KINDS[manifest["kind"]].spec.model_validate(manifest["spec"])
    assert stored["spec"] == ours.dump()


def paths(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a schema with its description."""
    inner = schema.get("items") or schema.get("additionalProperties")
    if inner:
        yield from paths(inner, path)
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child["description"]
        yield from paths(child, f"{path}.{name}")


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_kubectl_explains_every_field(kube: Kubectl, kind: Kind, part: str) -> None:
    schema = structural_schema(getattr(kind, part))
    parents = {path.rpartition(".")[0] for path, _ in paths(schema)}
    told = {parent: squeezed(kube("explain", f"{kind.plural}.{part}{parent}")) for parent in sorted(parents)}
    for path, description in paths(schema):
        assert squeezed(description) in told[path.rpartition(".")[0]], path


@pytest.fixture
def applied(kube: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace with a resource of each kind."""
    namespace = f"crds-{abs(hash(request.node.name)) % 10**8}"
    kube("create", "namespace", namespace)
    for manifest in (ranker(), graph(), store(), activity(), bundle(), experiment()):
        kube("apply", f"--namespace={namespace}", "--filename=-", manifest=manifest)
    yield namespace
    kube("delete", "endcap", "--all", f"--namespace={namespace}")


def test_short_names_and_the_category_list_the_resources(kube: Kubectl, applied: str) -> None:
    flags = (f"--namespace={applied}", "--output=name")
    assert kube("get", "mdep", *flags).split() == ["modeldeployment.endcap.dev/basket-ranker"]
    assert kube("get", "ig", *flags).split() == ["inferencegraph.endcap.dev/basket"]
    assert kube("get", "fs", *flags).split() == ["featurestore.endcap.dev/default"]
    assert kube("get", "fv", *flags).split() == ["featureview.endcap.dev/customer-activity"]
    assert kube("get", "fb", *flags).split() == ["featurebundle.endcap.dev/customer-preference"]
    assert kube("get", "exp", *flags).split() == ["experiment.endcap.dev/ranker-v2"]
    assert len(kube("get", "endcap", *flags).split()) == 6


def test_kubectl_get_has_the_columns(kube: Kubectl, applied: str) -> None:
    models = kube("get", "mdep", f"--namespace={applied}").splitlines()
    graphs = kube("get", "ig", f"--namespace={applied}", "--output=wide").splitlines()
    assert models[0].split() == [
        "NAME",
        "FRAMEWORK",
        "VERSION",
        "READY",
        "REPLICAS",
        "REASON",
        "HEALTH",
        "AGE",
    ]
    assert models[1].split()[:2] == ["basket-ranker", "lightgbm"]
    assert graphs[0].split()[1:] == [
        "URL",
        "READY",
        "STEPS",
        "SERVING",
        "REASON",
        "HEALTH",
        "MODELS",
        "EXPERIMENTS",
        "MESSAGE",
        "AGE",
    ]


@pytest.mark.parametrize(
    ("resource", "columns"),
    [
        ("fs", "NAME BACKEND READY VIEWS LAG DEAD LETTERS REASON AGE"),
        ("fv", "NAME ENTITY LAYOUT VALID WARM FRESH LAG BYTES AGE"),
        ("fb", "NAME ENTITY FEATURES READY REASON AGE"),
        ("exp", "NAME READY GRAPH STEP PHASE TRAFFIC SPLIT UNITS SRM PRIMARY GUARDRAILS VERDICT AGE"),
    ],
)
def test_kubectl_get_shows_how_features_and_experiments_are(
    kube: Kubectl, applied: str, resource: str, columns: str
) -> None:
    head = kube("get", resource, f"--namespace={applied}").splitlines()[0]
    assert " ".join(head.split()) == columns


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("mdep/basket-ranker", "spec.replicas.min"),
        ("ig/basket", "spec.replicas.min"),
        ("fs/default", "spec.ingest.replicas.min"),
    ],
)
def test_what_has_pods_can_be_scaled(kube: Kubectl, applied: str, resource: str, path: str) -> None:
    kube("scale", resource, "--replicas=3", f"--namespace={applied}")
    read = ("get", resource, f"--namespace={applied}")
    assert kube(*read, f"--output=jsonpath={{.{path}}}") == "3"
    scale = json.loads(kube(*read, "--subresource=scale", "--output=json"))
    assert scale["spec"]["replicas"] == 3


@pytest.mark.parametrize("resource", ["fv/customer-activity", "fb/customer-preference", "exp/ranker-v2"])
def test_what_has_no_pods_has_no_scale(kube: Kubectl, applied: str, resource: str) -> None:
    assert kube("get", resource, f"--namespace={applied}", "--output=name")
    with pytest.raises(ClusterError, match="NotFound"):
        kube("scale", resource, "--replicas=3", f"--namespace={applied}")


def test_scaling_to_nothing_is_refused(kube: Kubectl, applied: str) -> None:
    with pytest.raises(ClusterError, match="greater than or equal to 1"):
        kube("scale", "mdep", "basket-ranker", "--replicas=0", f"--namespace={applied}")


def test_status_is_a_subresource_of_its_own(kube: Kubectl, applied: str) -> None:
    status = json.dumps({"status": {"version": "4", "readyReplicas": 1}})
    patch = ("patch", "mdep", "basket-ranker", f"--namespace={applied}", "--type=merge", f"--patch={status}")
    read = ("get", "mdep", "basket-ranker", f"--namespace={applied}", "--output=jsonpath={.status.version}")
    kube(*patch)
    assert kube(*read) == ""
    kube(*patch, "--subresource=status")
    assert kube(*read) == "4"


def test_a_removed_field_takes_its_default_again(kube: Kubectl, applied: str) -> None:
    read = ("get", "ig", "basket", f"--namespace={applied}", "--output=jsonpath={.spec.deadline}")
    assert kube(*read) == "150ms"
    without = changed(graph(), "spec.deadline", "1s")
    del without["spec"]["deadline"]
    kube("apply", f"--namespace={applied}", "--filename=-", manifest=without)
    assert kube(*read) == "1s"
