# SPDX-License-Identifier: Apache-2.0
"""The same features on Feast: three views of four features in Redis, served by its Python feature server.

Run by Feast's own interpreter: `python feast_shop.py REPOSITORY REDIS_PORT PORT VALUES`. VALUES is a JSON file of
columns by view, the keys among them; they are written as Feast writes an online store.
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64, Int64
from feast.value_type import ValueType

SETTINGS = """
project: shop
registry: {repository}/registry.db
provider: local
online_store:
  type: redis
  connection_string: 127.0.0.1:{redis_port}
offline_store:
  type: file
entity_key_serialization_version: 3
telemetry: false
"""


def view_of(name, frame, entity, repository):
    source = repository / f"{name}.parquet"
    frame.to_parquet(source)
    key = entity.join_key
    types = {column: Float64 if frame[column].dtype == "float64" else Int64 for column in frame}
    schema = [Field(name=column, dtype=types[column]) for column in frame if column not in (key, "at")]
    return FeatureView(
        name=name.replace("-", "_"),
        entities=[entity],
        ttl=timedelta(days=30),
        schema=schema,
        source=FileSource(path=str(source), timestamp_field="at"),
    )


def main(repository, redis_port, values):
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "feature_store.yaml").write_text(
        SETTINGS.format(repository=repository, redis_port=redis_port)
    )
    store = FeatureStore(repo_path=str(repository))
    keys = {"customer_id": "customer", "product_id": "product"}
    entities = {
        key: Entity(name=name, join_keys=[key], value_type=ValueType.STRING) for key, name in keys.items()
    }
    store.apply(list(entities.values()))
    for name, columns in json.loads(values.read_text()).items():
        frame = pd.DataFrame(columns)
        frame["at"] = pd.Timestamp.now(tz="UTC")
        key = next(key for key in keys if key in columns)
        view = view_of(name, frame, entities[key], repository)
        store.apply([view])
        store.write_to_online_store(view.name, frame)


if __name__ == "__main__":
    repository = Path(sys.argv[1])
    main(repository, sys.argv[2], Path(sys.argv[4]))
    feast = str(Path(sys.executable).parent / "feast")
    serve = ["serve", "--host", "127.0.0.1", "--port", sys.argv[3], "--no-access-log"]
    os.execv(feast, [feast, "--chdir", str(repository), *serve])  # noqa: S606 (the bench ends this very process)
