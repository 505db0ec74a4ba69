# SPDX-License-Identifier: Apache-2.0
"""`endcap features list`: which features there are, and which bundles carry each."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from endcap_api.feature_columns import FeatureColumn, columns_of
from endcap_cli.feature_contracts import Features
from endcap_cli.features.definitions import features_of
from endcap_cli.terminal import CommandError, say_table

HEAD = ("FEATURE", "VIEW", "SOURCE", "ENTITY", "TYPE", "BUNDLES", "DESCRIPTION")


def run(arguments: argparse.Namespace) -> int:
    features = features_of(arguments.paths, arguments)
    rows = [row for name, row in _rows(features) if arguments.feature in (None, *name)]
    if not rows:
        wanted = f"feature {arguments.feature}" if arguments.feature else "FeatureView"
        raise CommandError(f"no {wanted} here: endcap features list without --feature shows all")
    say_table(HEAD, rows)
    return 0


def _rows(features: Features) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """With the names that each answers to: that of the feature and that of the column."""
    for name, spec in sorted(features.views.items()):
        for column in columns_of(spec):
            bundles = ", ".join(sorted(_carrying(features, name, column)))
            of_view = (column.name, name, spec.kind, spec.entity.name, _type(column))
            yield (column.feature, column.name), (*of_view, bundles or "-", column.description or "")


def _carrying(features: Features, view: str, column: FeatureColumn) -> Iterator[str]:
    """The bundles that carry a column, and under which name where that is another."""
    for name, bundle in features.bundles.items():
        for selected in bundle.features:
            if (selected.view, selected.column) == (view, column.name):
                yield name if selected.known_as == column.name else f"{name} (as {selected.known_as})"


def _type(column: FeatureColumn) -> str:
    return f"array of {column.items}" if column.items else column.type
