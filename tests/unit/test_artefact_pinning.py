# SPDX-License-Identifier: Apache-2.0
"""A push moves two values in a person's YAML and nothing else."""

import difflib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from endcap_cli.pinning import PinningError, pinned

OLD, NEW = "a" * 64, "b" * 64
RESOURCES = f"""\
# The ranker, trained on Mondays
apiVersion: endcap.dev/v1alpha1
kind: ModelDeployment
metadata:
  name: basket-ranker   # ü, comments and odd   spacing stay
spec:
  framework: lightgbm
  model:
    sha256: "{OLD}"
    uri: s3://models/basket-ranker/4.tar.gz
---
kind: ModelDeployment
metadata: {{name: together}}
spec: {{model: {{uri: 's3://models/together/1.tar.gz', sha256: {OLD} , secretRef: {{name: s3}}}}}}
---
kind: InferenceGraph
metadata:
    name: basket
spec:
    catalogue:
        uri: s3://models/catalogue/2026-11-24.parquet
        sha256: {OLD}
    steps: []
---
kind: ConfigMap
data: {{uri: s3://models/other/1.txt, sha256: {OLD}}}
"""


def changed_lines(old: str, new: str) -> list[str]:
    return [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line.startswith("+ ")]


def test_a_block_gets_a_diff_of_two_lines():
    assert changed_lines(RESOURCES, pinned(RESOURCES, "s3://models/basket-ranker/5.tar.gz", NEW)) == [
        f'+     sha256: "{NEW}"',
        "+     uri: s3://models/basket-ranker/5.tar.gz",
    ]


def test_a_flow_keeps_its_quotes_and_spaces():
    assert changed_lines(RESOURCES, pinned(RESOURCES, "s3://models/together/2.tar.gz", NEW)) == [
        f"+ spec: {{model: {{uri: 's3://models/together/2.tar.gz', sha256: {NEW} , secretRef: {{name: s3}}}}}}"
    ]


def test_a_catalogue_is_moved_too():
    graph = list(yaml.safe_load_all(pinned(RESOURCES, "s3://models/catalogue/2026-12-01.parquet", NEW)))[2]
    assert graph["spec"]["catalogue"] == {"uri": "s3://models/catalogue/2026-12-01.parquet", "sha256": NEW}


def test_the_same_version_changes_nothing():
    assert pinned(RESOURCES, "s3://models/basket-ranker/4.tar.gz", OLD) == RESOURCES


@given(
    st.integers(0, 16**64 - 1).map(lambda n: f"{n:064x}"),
    st.sampled_from(["1e5", "5", "0x10", "v 1", "a#b", "2026-01-01"]),
)
def test_every_digest_and_version_is_still_read_as_text(digest, version):
    uri = f"s3://models/catalogue/{version}"
    graph = list(yaml.safe_load_all(pinned(RESOURCES, uri, digest)))[2]
    assert graph["spec"]["catalogue"] == {"uri": uri, "sha256": digest}


def test_windows_line_ends_stay():
    text = RESOURCES.replace("\n", "\r\n")
    new = pinned(text, "s3://models/basket-ranker/5.tar.gz", NEW)
    assert new == text.replace("basket-ranker/4.tar.gz", "basket-ranker/5.tar.gz").replace(OLD, NEW, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RESOURCES.replace("basket-ranker/4", "elsewhere/4"), "found: none"),
        (RESOURCES.replace("together/1", "basket-ranker/1"), "basket-ranker, ModelDeployment together"),
        ("kind: [", "not YAML"),
        (RESOURCES.replace(f'sha256: "{OLD}"', f"sha256: >-\n      {OLD}"), "on one line"),
        (RESOURCES.replace(f'sha256: "{OLD}"', f'sha256: &digest "{OLD}"'), "without anchors"),
        ("- just\n- a list\n", "found: none"),
    ],
)
def test_a_file_in_which_the_place_is_not_clear_is_refused(text, said):
    with pytest.raises(PinningError, match=said):
        pinned(text, "s3://models/basket-ranker/5.tar.gz", NEW)
