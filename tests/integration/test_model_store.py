# SPDX-License-Identifier: Apache-2.0
"""Versions in a real S3 server and in a folder: pushed once, never changed, listed."""

import pickle
import threading
from pathlib import Path

import pytest
from artefact_fetches import MODEL

from endcap_cli.model_store import listing, push
from endcap_cli.stores import LocalStore, S3Store, StoreError, store_from
from endcap_runtime.artefacts import ArtefactError


@pytest.fixture(params=["s3", "local"])
def any_store(request, tmp_path):
    if request.param == "local":
        (tmp_path / "store").mkdir()
        return LocalStore(tmp_path / "store")
    return request.getfixturevalue("store")


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    (folder / "basket").mkdir(parents=True)
    (folder / "model.txt").write_bytes(MODEL)
    (folder / "basket" / "features.py").write_text("def build(columns):\n    return columns\n")
    return folder


def test_a_version_is_pushed_once_and_never_changed(any_store, model):
    first = push(model, "s3://models/once/4.tar.gz", any_store)
    again = push(model, "s3://models/once/4.tar.gz", any_store)
    assert (first.created, again.created, first.sha256 == again.sha256) == (True, False, True)
    (model / "model.txt").write_bytes(b"other")
    with pytest.raises(StoreError, match="choose a new version"):
        push(model, "s3://models/once/4.tar.gz", any_store)


def test_two_pushes_at_once_store_one_of_them(any_store, tmp_path):
    files = [tmp_path / f"{number}.txt" for number in range(4)]
    for file in files:
        file.write_text(f"tree\n{file.name}\n")
    outcomes: list[object] = []

    def attempt(file: Path) -> None:
        try:
            outcomes.append(push(file, f"s3://models/race-{tmp_path.name}/1.txt".lower(), any_store))
        except StoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=attempt, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Pushed"] + ["StoreError"] * 3


def test_the_listing_shows_versions_in_order_with_their_digests(any_store, model, tmp_path):
    (tmp_path / "next.txt").write_text("tree\n")
    pushed = [push(tmp_path / "next.txt", f"s3://models/list/ranker/{v}.txt", any_store) for v in (10, 9)]
    pushed.append(push(model, "s3://models/list/a/1.tar.gz", any_store))
    found = listing("s3://models/list/", any_store)
    assert [(v.name, v.version) for v in found] == [
        ("list/a", "1"),
        ("list/ranker", "9"),
        ("list/ranker", "10"),
    ]
    assert {v.sha256 for v in found} == {p.sha256 for p in pushed}
    assert [v.bytes for v in found[1:]] == [5, 5]
    assert found[0].modified.tzinfo is not None


def test_a_version_that_another_tool_put_there_is_compared_by_its_bytes(s3, store, tmp_path):
    (s3.folder / "models" / "foreign").mkdir()
    (s3.folder / "models" / "foreign" / "1.txt").write_bytes(MODEL)
    (tmp_path / "model.txt").write_bytes(MODEL)
    store.client.put_object(Bucket="models", Key="foreign/2.txt", Body=MODEL)
    for version in (1, 2):
        assert push(tmp_path / "model.txt", f"s3://models/foreign/{version}.txt", store).created is False
    assert [version.sha256 for version in listing("s3://models/foreign/", store)] == [None, None]


def test_what_a_pod_would_refuse_is_refused_at_once(any_store, model):
    (model / "Model.txt").write_text("the same name on some systems")
    with pytest.raises(ArtefactError, match="twice"):
        push(model, "s3://models/refused/1.tar.gz", any_store)
    assert listing("s3://models/refused/", any_store) == []


def test_a_pickle_may_be_pushed_and_is_pointed_out(any_store, model):
    assert push(model, "s3://models/pickled/1.tar.gz", any_store).has_pickle is False
    (model / "model.joblib").write_bytes(pickle.dumps({"a": 1}))
    assert push(model, "s3://models/pickled/2.tar.gz", any_store).has_pickle is True


def test_a_suffix_that_does_not_fit_is_refused(any_store, model):
    for path, uri, said in [
        (model, "s3://models/x/1.txt", "end in .tar.gz"),
        (model / "model.txt", "s3://models/x/1.skops", "end in '.txt'"),
        (model / "missing.txt", "s3://models/x/1.txt", "no file or folder"),
        (model / "model.txt", "s3://models/x/1 2.txt", "without spaces"),
    ]:
        with pytest.raises(StoreError, match=said):
            push(path, uri, any_store)


def test_a_server_that_refuses_is_named_without_credentials(s3, model):
    for store, said in [
        (S3Store.at(s3.endpoint, s3.access, "hush-wrong"), "refuses"),
        (S3Store.at("http://127.0.0.1:9", s3.access, "hush-wrong"), "does not answer"),
    ]:
        with pytest.raises(StoreError, match=said) as caught:
            push(model, "s3://models/x/1.tar.gz", store)
        assert "hush" not in str(caught.value)
    with pytest.raises(StoreError, match="no bucket 'nowhere'"):
        push(model, "s3://nowhere/x/1.tar.gz", S3Store.at(s3.endpoint, s3.access, s3.secret))


def test_the_store_is_chosen_by_the_environment(s3, tmp_path):
    assert store_from({"ENDCAP_LOCAL_STORE": str(tmp_path)}) == LocalStore(tmp_path)
    keys = {"AWS_ACCESS_KEY_ID": s3.access, "AWS_SECRET_ACCESS_KEY": s3.secret}
    chosen = store_from({"ENDCAP_S3_ENDPOINT": s3.endpoint, **keys})
    assert listing("s3://models/no-such-prefix/", chosen) == []
    for environment, said in [
        ({}, "ENDCAP_S3_ENDPOINT"),
        ({"ENDCAP_S3_ENDPOINT": s3.endpoint}, "AWS_ACCESS_KEY_ID"),
    ]:
        with pytest.raises(StoreError, match=said):
            store_from(environment)
