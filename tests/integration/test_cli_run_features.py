# SPDX-License-Identifier: Apache-2.0
"""`endcap run` on features: what cannot start, a Redis of one's own, models with features, results by version."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import changed, resource
from local_feature_runs import FeatureFolder, FeatureRun, features, purchases, until, written
from local_runs import PATIENCE, packed, products, stored
from redis_servers import free_port, redis_server

READY = "edits of the YAML files are followed"
# Scores a product by what the pod's own lookup says of it.
SCORER = """
def load(directory):
    return lambda columns: {"score": [float(sold) for sold in columns.get("sold_1h", columns.get("sold"))]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> FeatureFolder:
    return FeatureFolder(tmp_path / "shop", make=True)


@pytest.fixture
def start(folder: FeatureFolder, tmp_path: Path) -> Iterator[Callable[..., FeatureRun]]:
    runs: list[FeatureRun] = []

    def begin(*arguments: str) -> FeatureRun:
        runs.append(FeatureRun(folder, tmp_path, *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.end()


def test_without_a_redis_to_start_the_remedy_is_told(
    start: Callable[..., FeatureRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    run = start()
    assert run.process.wait(PATIENCE) == 1
    said = run.said.read_text().splitlines()[-1]
    assert "redis-server is not installed" in said
    assert "set spec.redis.url to a Redis that runs" in said


def test_a_port_for_events_in_use_is_said_before_anything_starts(start: Callable[..., FeatureRun]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = start("--events-port", str(taken.getsockname()[1]))
        assert run.process.wait(PATIENCE) == 1
    assert "is in use: give another with --events-port" in run.said.read_text()
    assert "ready" not in run.said.read_text()


def test_one_port_for_events_and_answers_is_wrong_usage(start: Callable[..., FeatureRun]) -> None:
    run = start("--port", "18080", "--events-port", "18080")
    assert run.process.wait(PATIENCE) == 2
    assert "port 18080 is wanted twice: keep --port and --events-port apart" in run.said.read_text()
    assert "ready" not in run.said.read_text()


def test_a_store_that_nothing_holds_is_told_before_anything_starts(
    start: Callable[..., FeatureRun], folder: FeatureFolder
) -> None:
    folder.stores = []
    folder.write()
    run = start()
    assert run.process.wait(PATIENCE) == 1
    assert (
        "FeatureView/sales: spec.store: no FeatureStore default in these files: add it"
        in run.said.read_text()
    )


def test_a_redis_of_ones_own_is_used_as_it_is_and_kept(
    start: Callable[..., FeatureRun], folder: FeatureFolder, tmp_path: Path
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        folder.stores = [resource("FeatureStore", "default", {"redis": {"url": redis.url}})]
        folder.write()
        run = start()
        run.until_said(READY)
        assert "redis of store" not in run.said.read_text()
        run.command("events", "send", str(written(tmp_path / "events.jsonl", *purchases(3))))
        until(lambda: features(run, "product", product_id="2")["sold_1h"], lambda value: value == 3)
        run.end()
        again = start()
        again.until_said(READY)
        assert features(again, "product", product_id="2")["sold_1h"] == 3


def test_a_redis_of_ones_own_that_does_not_answer_is_told(
    start: Callable[..., FeatureRun], folder: FeatureFolder
) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    folder.stores = [resource("FeatureStore", "default", {"redis": {"url": nowhere}})]
    folder.write()
    run = start()
    run.until_said(r"store default: redis://127.0.0.1:\d+ cannot be asked: check the address")
    run.until_said(READY)


def test_a_store_alone_is_served_too(
    start: Callable[..., FeatureRun], folder: FeatureFolder, tmp_path: Path
) -> None:
    folder.path.joinpath("graph.yaml").unlink()
    run = start()
    run.until_said(READY)
    run.command("events", "send", str(written(tmp_path / "events.jsonl", *purchases(2))))
    until(lambda: features(run, "product", product_id="2")["sold_1h"], lambda value: value == 2)


def test_a_model_looks_its_own_features_up(
    start: Callable[..., FeatureRun], folder: FeatureFolder, tmp_path: Path
) -> None:
    artefact = stored(folder.store, "scorer/1.tar.gz", packed(tmp_path / "scorer", "", SCORER))
    spec = {
        "framework": "python",
        "model": {**artefact, "entryPoint": "served:load"},
        "inputs": [{"name": "id", "type": "string"}],
        "outputs": [{"name": "score", "type": "number"}],
        "features": {"bundle": "product", "keys": {"product_id": "id"}},
    }
    folder.models["scorer"] = resource("ModelDeployment", "scorer", spec)
    folder.change_graph("spec.steps[4].rank", {"model": "scorer", "inputs": {"id": "candidate.id"}})
    run = start()
    run.until_said(READY)
    assert "features of model scorer" in run.said.read_text()
    run.command("events", "send", str(written(tmp_path / "events.jsonl", *purchases(4))))
    answer = run.until_served(lambda one: products(one) == ["Plastic cups", "Candles"])
    assert answer["degraded"] == []
    assert answer["served_by"]["rank"] == "scorer@1"

    folder.bundles["product"] = changed(folder.bundles["product"], "spec.features[0].name", "sold")
    folder.write()
    run.until_said(r"(?s)model scorer@1.*model scorer@1 .*ready.*graph basket +changed")
    answer = run.ask()
    assert (products(answer), answer["degraded"]) == (["Plastic cups", "Candles"], [])

    folder.change_model("scorer", "spec.model.sha256", "0" * 64)
    run.until_said("model scorer: DigestMismatch: .*; the version before it serves on")
    folder.bundles["product"] = changed(folder.bundles["product"], "spec.features[0].name", "sales")
    folder.write()
    run.until_said(r"(?s)(the version before it serves on.*){2}changed")
    answer = run.ask()
    assert (products(answer), answer["degraded"]) == (["Plastic cups", "Candles"], [])


def test_what_another_version_of_the_model_wrote_no_longer_counts(
    start: Callable[..., FeatureRun], folder: FeatureFolder
) -> None:
    run = start()
    run.until_said(READY)
    run.ask()
    until(lambda: features(run, "customer", customer_id="7")["last_products"], lambda value: value != [])
    folder.change_model("together", "spec.model", {**folder.artefact("3 1"), "entryPoint": "served:load"})
    until(lambda: features(run, "customer", customer_id="7")["last_products"], lambda value: value == [])
    run.until_served(lambda answer: answer["served_by"]["together"] == "together@3")
    until(lambda: features(run, "customer", customer_id="7")["last_products"], lambda value: value != [])


def test_a_view_that_an_edit_makes_start_cold_is_told(
    start: Callable[..., FeatureRun], folder: FeatureFolder, tmp_path: Path
) -> None:
    run = start()
    run.until_said(READY)
    run.command("events", "send", str(written(tmp_path / "events.jsonl", *purchases(3))), "--wait")
    assert features(run, "customer", customer_id="7")["buys_1h"] == 3
    folder.views["habits"] = changed(folder.views["habits"], "spec.source.stream.maxEvents", 32)
    folder.write()
    run.until_said("view habits starts cold: its packing changed\n")
    assert features(run, "customer", customer_id="7")["buys_1h"] == 0
    assert "view sales" not in run.said.read_text()


def test_a_redis_that_dies_degrades_and_is_started_again(
    start: Callable[..., FeatureRun], tmp_path: Path
) -> None:
    run = start()
    run.until_said(READY)
    names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in run.children()}
    victim = next(pid for pid, name in names.items() if name.startswith("redis-server"))
    os.kill(victim, signal.SIGKILL)
    run.until_said(r"redis of store default: killed by signal 9.*; starting it again; what it held is gone")
    run.command("events", "send", str(written(tmp_path / "events.jsonl", *purchases(2))))
    until(lambda: features(run, "product", product_id="2")["sold_1h"], lambda value: value == 2)
    run.until_served(lambda answer: answer["degraded"] == [])
