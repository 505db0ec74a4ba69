# SPDX-License-Identifier: Apache-2.0
"""The model server as its callers see it: real processes, real sockets, real clients."""

import asyncio
import gc
import json
import re
import time

import httpx
import numpy as np
import pytest
import tritonclient.http
from model_servers import (
    FEATURES,
    config,
    lightgbm_artefact,
    python_artefact,
    serving,
    sklearn_artefact,
    start,
)

BASKET = """
    import time
    import numpy as np

    def load(directory):
        return predict

    def predict(columns):
        share = columns["share"]
        if (share == 13).any():
            raise RuntimeError("password=hunter2")
        if (share == 14).any():
            return {"score": share * np.nan, "items": columns["cart"], "label": columns["household"]}
        if (share > 1000).any():
            time.sleep(float(share.max() - 1000))
        with open(directory_of_calls, "a") as calls:
            calls.write(f"{len(share)}\\n")
        return {"score": share * 2, "items": columns["cart"], "label": columns["household"]}

    import os
    directory_of_calls = os.path.join(os.environ["TMPDIR"], "calls")

    def build(columns):
        if (columns["share"] == 15).any():
            raise ValueError("hunter2")
        return columns

    def explain(outputs, columns):
        if (columns["share"] == 16).any():
            raise ValueError("hunter2")
        return outputs
"""
BASKET_CONFIG = {
    "entryPoint": "basket:load",
    "preprocess": "basket:build",
    "postprocess": "basket:explain",
    "inputs": [
        {"name": "share", "type": "number"},
        {"name": "household", "type": "string"},
        {"name": "cart", "type": "array", "items": {"type": "product"}},
    ],
    "outputs": [
        {"name": "score", "type": "number"},
        {"name": "items", "type": "array", "items": {"type": "product"}},
        {"name": "label", "type": "string"},
    ],
}
LIMITS = {"ENDCAP_MAX_BODY_BYTES": "100000", "ENDCAP_MAX_IN_FLIGHT": "40", "ENDCAP_DRAIN_SECONDS": "0.5"}


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    work = tmp_path_factory.mktemp("ranker")
    booster = lightgbm_artefact(work / "artefact")
    with serving(config("lightgbm", suffix=".txt"), work / "artefact", work, LIMITS) as server:
        yield server, booster


@pytest.fixture(scope="module")
def basket(tmp_path_factory):
    work = tmp_path_factory.mktemp("basket")
    python_artefact(work / "artefact", BASKET)
    with serving(
        config("python", suffix=".tar.gz", **BASKET_CONFIG), work / "artefact", work, LIMITS
    ) as server:
        yield server


def rows(count=1):
    return [
        dict(zip(FEATURES, row, strict=True)) for row in np.random.default_rng(1).random((count, 4)).tolist()
    ]


def matrix(sent):
    return np.array([[row[name] for name in FEATURES] for row in sent])


def cart(share, household="7", items=("1", "2")):
    return {"rows": [{"share": share, "household": household, "cart": list(items)}]}


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    value = response.json()
    assert (value["status"], value["type"]) == (status, "about:blank")
    return value


# --- answers


def test_columns_and_rows_give_the_models_own_answers(ranker):
    server, booster = ranker
    sent = rows(3)
    expected = booster.predict(matrix(sent)).tolist()
    columns = {name: [row[name] for row in sent] for name in FEATURES}
    by_column = httpx.post(f"{server.url}/predict", json={"columns": columns})
    by_row = httpx.post(f"{server.url}/predict", json={"rows": sent}).json()
    assert by_column.json() == {"model": "ranker", "version": "4", "columns": {"score": expected}}
    assert [row["score"] for row in by_row["rows"]] == expected
    assert by_column.headers["endcap-model"] == "ranker@4"


def test_skops_answers_as_the_estimator_does(tmp_path):
    estimator = sklearn_artefact(tmp_path / "artefact")
    sent = rows(2)
    with serving(config("sklearn", suffix=".skops"), tmp_path / "artefact", tmp_path) as server:
        answer = httpx.post(f"{server.url}/predict", json={"rows": sent}).json()
    assert np.allclose([row["score"] for row in answer["rows"]], estimator.predict_proba(matrix(sent))[:, 1])


def test_text_and_arrays_of_any_length_come_back(basket):
    answer = httpx.post(
        f"{basket.url}/predict",
        json={"columns": {"share": [1, 2], "household": ["é", ""], "cart": [["a"], ["b", "c"]]}},
    ).json()
    assert answer["columns"] == {"score": [2, 4], "items": [["a"], ["b", "c"]], "label": ["é", ""]}


def test_a_triton_client_reads_metadata_and_gets_the_models_answers(ranker):
    server, booster = ranker
    sent = np.random.default_rng(2).random((5, 4))
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("ranker", "4")
        metadata = client.get_model_metadata("ranker")
        assert [(each["name"], each["datatype"]) for each in metadata["inputs"]] == [
            (n, "FP64") for n in FEATURES
        ]
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        for version in ("", "4"):
            answer = client.infer("ranker", columns(sent), model_version=version, request_id="one")
            assert np.allclose(answer.as_numpy("score"), booster.predict(sent))
            assert answer.get_response()["id"] == "one"
        single = tritonclient.http.InferInput("all", [5, 4], "FP32")
        single.set_data_from_numpy(sent.astype(np.float32), binary_data=False)
        wanted = [tritonclient.http.InferRequestedOutput("score", binary_data=False)]
        answer = client.infer("ranker", [single], outputs=wanted)
        assert np.allclose(answer.as_numpy("score"), booster.predict(sent.astype(np.float32).astype(float)))


def columns(values):
    inputs = []
    for index, name in enumerate(FEATURES):
        tensor = tritonclient.http.InferInput(name, [len(values), 1], "FP64")
        tensor.set_data_from_numpy(values[:, index : index + 1])
        inputs.append(tensor)
    return inputs


def test_a_triton_client_sends_and_gets_text_and_arrays(basket):
    share = tritonclient.http.InferInput("share", [1], "FP64")
    share.set_data_from_numpy(np.array([3.0]))
    household = tritonclient.http.InferInput("household", [1], "BYTES")
    household.set_data_from_numpy(np.array(["é"], dtype=object))
    items = tritonclient.http.InferInput("cart", [1, 2], "BYTES")
    items.set_data_from_numpy(np.array([["a", "b"]], dtype=object))
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{basket.port}") as client:
        answer = client.infer("ranker", [share, household, items])
    assert answer.as_numpy("score").tolist() == [6.0]
    assert [item.decode() for item in answer.as_numpy("items")[0]] == ["a", "b"]
    assert answer.as_numpy("label")[0].decode() == "é"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Implicitly cleaning up:ResourceWarning")
def test_bentomls_own_client_calls_the_model(ranker):
    import bentoml

    server, booster = ranker
    sent = rows(2)
    with bentoml.SyncHTTPClient(server.url) as client:
        answer = client.predict(columns={name: [row[name] for row in sent] for name in FEATURES})
    del client
    gc.collect()  # it leaves a temporary directory to its finalizer
    assert answer["columns"]["score"] == booster.predict(matrix(sent)).tolist()


def test_the_revision_and_the_model_are_told(ranker):
    from endcap_api.runtime_config import ModelConfig

    revision = ModelConfig.model_validate(config("lightgbm", suffix=".txt")).revision
    answer = httpx.get(f"{ranker[0].url}/-/revision").json()
    assert answer == {"serving": revision, "model": "ranker@4"}


# --- refusals


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"share": "much"}, "rows[0].share", "expected a finite number, got a string"),
        ({"share": None}, "rows[0].share", "got null"),
        ({"colour": 1}, "colour", "unknown; the columns are share, price, recency, stock"),
        ({"share": True}, "rows[0].share", "got a boolean"),
    ],
)
def test_a_wrong_column_is_named(ranker, changes, field, words):
    response = httpx.post(f"{ranker[0].url}/predict", json={"rows": [rows()[0] | changes]})
    errors = problem(response, 422)["errors"]
    assert [error["field"] for error in errors] == [field]
    assert words in errors[0]["message"]


def test_a_missing_column_is_named(ranker):
    response = httpx.post(f"{ranker[0].url}/predict", json={"columns": {"share": [1]}})
    assert [e["field"] for e in problem(response, 422)["errors"]] == ["price", "recency", "stock"]


def test_the_protocols_errors_are_its_own(ranker):
    server, _ = ranker
    wrong = {"inputs": [{"name": "share", "datatype": "FP64", "shape": [1], "data": [1.0]}]}
    response = httpx.post(f"{server.url}/v2/models/ranker/infer", json=wrong)
    assert response.status_code == 422
    assert "price: missing" in response.json()["error"]
    lying = {"inputs": [{"name": "share", "datatype": "FP64", "shape": [2**40], "data": [1.0]}]}
    response = httpx.post(f"{server.url}/v2/models/ranker/infer", json=lying)
    assert (response.status_code, set(response.json())) == (400, {"error"})
    for path in ("/v2/models/other", "/v2/models/ranker/versions/5/infer", "/v2/repository/index"):
        response = httpx.post(server.url + path, json=wrong)
        assert (response.status_code, set(response.json())) == (404, {"error"})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"columns": {"share": [NaN]}}', b'{"columns": {"share": [1], "share": [2]}}',
        b"[" * 10_000 + b"]" * 10_000, b'{"columns": {"share": ["\xff"]}}', b'{"rows": [], "columns": {}}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_400(ranker, body):
    problem(httpx.post(f"{ranker[0].url}/predict", content=body), 400)


def test_a_number_beyond_a_double_is_422(ranker):
    body = b'{"columns": {"share": [1e999], "price": [1], "recency": [1], "stock": [1]}}'
    errors = problem(httpx.post(f"{ranker[0].url}/predict", content=body), 422)["errors"]
    assert errors == [
        {"field": "columns.share[0]", "message": "expected a finite number, got a number that is not finite"}
    ]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_over_the_limit_is_413(ranker, chunked):
    server, _ = ranker
    big = b'{"rows": [' + b" " * 200_000 + b"]}"
    content = (big[start : start + 10_000] for start in range(0, len(big), 10_000)) if chunked else big
    problem(httpx.post(f"{server.url}/predict", content=content), 413)
    assert httpx.post(f"{server.url}/predict", json={"rows": rows()}).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/v2/models/ranker/infer", "/", "/nowhere", "/docs.json"])
@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.bentoml+pickle", "Application/vnd.BentoML+pickle; a=b", "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded", "application/octet-stream+pickle", "text/plain",
    ],
)  # fmt: skip
def test_pickles_and_forms_are_415_on_every_path(ranker, path, media_type):
    response = httpx.post(
        ranker[0].url + path, content=b"cos\nsystem\n", headers={"content-type": media_type}
    )
    assert response.status_code == 415


def test_a_compressed_body_is_415(ranker):
    response = httpx.post(f"{ranker[0].url}/predict", content=b"x", headers={"content-encoding": "gzip"})
    problem(response, 415)


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [("/predict", "GET", "POST"), ("/v2/models/ranker/infer", "PUT", "POST"), ("/metrics", "POST", "GET")],
)
def test_another_method_is_405(ranker, path, method, allowed):
    headers = {"x-http-method-override": "POST"}
    response = httpx.request(method, ranker[0].url + path, headers=headers)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


def raw(server, request):
    async def exchange():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(65536), 20)
        writer.close()
        return answer

    return asyncio.run(exchange())


def status_of(server, request):
    answer = raw(server, request)
    return int(answer.split(b" ", 2)[1]) if answer else None


BODY = json.dumps({"columns": {name: [0.5] for name in FEATURES}}).encode()


def post(target=b"/predict", host=b"Host: pod\r\n", more=b"", body=BODY, *, length=True):
    lengths = b"Content-Length: %d\r\n" % len(body) if length else b""
    return b"POST " + target + b" HTTP/1.1\r\n" + host + lengths + more + b"\r\n" + body


def test_a_plain_request_through_a_raw_socket_is_answered(ranker):
    assert status_of(ranker[0], post()) == 200


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (post(target=b"/%70redict"), {404}),
        (post(target=b"/x/%2e%2e/predict"), {404}),
        (post(target=b"/x/../predict"), {404}),
        (post(target=b"//predict"), {404}),
        (post(target=b"/predict/"), {404}),
        (post(target=b"/predict;x"), {404}),
        (post(target=b"/configs/predict"), {404, 405}),
        (post(target=b"/v2//models/ranker/infer"), {404}),
        (post(target=b"http://evil/predict"), {400}),
        (post(target=b"*"), {400}),
        (post(host=b""), {400}),
        (post(host=b"Host: a b\r\n"), {400}),
        (post(host=b"Host: pod/predict\r\n"), {400}),
        (post(host=b"Host: pod\r\nHost: evil\r\n"), {400}),
        (post(host=b"Host: pod:port\r\n"), {400}),
    ],
)
def test_a_target_that_could_be_read_otherwise_is_refused(ranker, request_bytes, statuses):
    assert status_of(ranker[0], request_bytes) in statuses


CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(more=CHUNKED),
        post(more=b"Transfer-Encoding: xchunked\r\n", length=False),
        post(more=b"Transfer-Encoding : chunked\r\n", length=False),
        post(more=CHUNKED + b"Transfer-Encoding: identity\r\n", length=False),
        post(more=b"Content-Length: 3\r\n"),
        post(more=b"Content-Length: +5\r\n", length=False),
        post(more=b"Content-Length: 5, 5\r\n", length=False),
        post(more=CHUNKED, length=False, body=b"ffffffffffffffffff\r\nx"),
        post(more=b"Bad Header: x\r\n"),
        b"POST /predict HTTP/1.1\nHost: pod\n\n\x00",
        b"GARBAGE\r\n\r\n",
    ],
)
def test_a_message_with_two_readings_is_400(ranker, request_bytes):
    assert status_of(ranker[0], request_bytes) == 400


def test_a_head_without_end_is_refused(ranker):
    endless = b"GET /livez HTTP/1.1\r\nHost: pod\r\nX: " + b"a" * 300_000
    assert status_of(ranker[0], endless) in (400, 431)
    many = post(more=b"".join(b"X-%d: 1\r\n" % number for number in range(200)))
    assert status_of(ranker[0], many) in (400, 431)


@pytest.mark.parametrize("given", ["a b", "x" * 65, "é", "<img onerror=1>", "a;b"])
def test_a_request_id_that_is_not_harmless_is_made_anew(ranker, given):
    headers = {"x-request-id": given.encode()}
    response = httpx.post(f"{ranker[0].url}/predict", json={"rows": rows()}, headers=headers)
    assert re.fullmatch(r"[0-9a-f]{16}", response.headers["x-request-id"])


def test_a_harmless_request_id_comes_back(ranker):
    headers = {"x-request-id": "cart-1.a_B"}
    response = httpx.post(f"{ranker[0].url}/predict", json={"rows": []}, headers=headers)
    assert response.headers["x-request-id"] == "cart-1.a_B"


# --- failures of the model


@pytest.mark.parametrize(
    ("share", "words", "phase"),
    [
        (13, "The model failed on these rows.", "predict"),
        (14, "output score has a value that is not finite", "postprocess"),
        (15, "The preprocess hook failed on these rows.", "preprocess"),
        (16, "The postprocess hook failed on these rows.", "postprocess"),
    ],
)
def test_a_failing_phase_is_named_and_its_inside_stays_inside(basket, share, words, phase):
    before = metric(basket, f'endcap_model_failures_total{{model="ranker",phase="{phase}",version="4"}}')
    headers = {"x-request-id": f"failing-{share}", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    response = httpx.post(f"{basket.url}/predict", json=cart(share), headers=headers)
    assert words in problem(response, 500)["detail"]
    assert "hunter2" not in response.text
    after = metric(basket, f'endcap_model_failures_total{{model="ranker",phase="{phase}",version="4"}}')
    assert after == before + 1
    logged = [line for line in basket.lines if line.get("request_id") == f"failing-{share}"]
    assert [(line["phase"], line["traceparent"]) for line in logged] == [(phase, headers["traceparent"])]


def test_a_model_that_fails_again_and_again_tells_its_traceback_once(basket):
    for place in range(5):
        httpx.post(f"{basket.url}/predict", json=cart(13), headers={"x-request-id": f"again-{place}"})
    logged = [line for line in basket.lines if line.get("request_id", "").startswith("again-")]
    assert len(logged) == 5
    assert sum("exception" in line for line in logged) <= 1
    told = logged[-1]
    assert told["repeated"] >= 4
    assert re.fullmatch(r"RuntimeError at .*basket\.py:\d+", told["failure"])


def metric(server, name):
    text = httpx.get(f"{server.url}/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


async def gather(server, bodies, headers=None):
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
        return await asyncio.gather(*(client.post("/predict", json=body, headers=headers) for body in bodies))


async def test_a_bad_row_never_fails_its_batch_mates(basket):
    bodies = (
        [cart(number) for number in range(1, 13)] + [cart(13)] + [cart(number) for number in range(17, 29)]
    )
    bodies.append(cart("bad"))
    for _ in range(5):
        answers = await gather(basket, bodies)
        assert [answer.status_code for answer in answers] == [200] * 12 + [500] + [200] * 12 + [422]
        assert [a.json()["rows"][0]["score"] for a in answers[:12]] == [number * 2 for number in range(1, 13)]


async def test_requests_that_wait_together_are_predicted_together(basket):
    before = metric(basket, "endcap_model_batch_rows_count"), metric(basket, "endcap_model_batch_rows_sum")
    slow = asyncio.create_task(gather(basket, [cart(1000.5)]))
    await asyncio.sleep(0.2)
    await gather(basket, [cart(1) for _ in range(20)])
    await slow
    batches = metric(basket, "endcap_model_batch_rows_count") - before[0]
    assert metric(basket, "endcap_model_batch_rows_sum") - before[1] == 21
    assert batches <= 5


# --- deadlines and load


def test_a_deadline_that_has_passed_is_504(basket):
    for left in ("0", "-5"):
        response = httpx.post(f"{basket.url}/predict", json=cart(1), headers={"endcap-timeout-ms": left})
        problem(response, 504)


@pytest.mark.parametrize("given", ["soon", "1.5", "", "1e3", "9" * 20])
def test_a_deadline_that_is_no_number_is_400(basket, given):
    problem(httpx.post(f"{basket.url}/predict", json=cart(1), headers={"endcap-timeout-ms": given}), 400)


async def test_a_slow_model_is_504_at_the_deadline_and_others_go_on(basket):
    started = time.monotonic()
    (late,) = await gather(basket, [cart(1002)], {"endcap-timeout-ms": "200"})
    assert late.status_code == 504
    assert time.monotonic() - started < 1.9
    assert (await gather(basket, [cart(1)]))[0].status_code == 200


async def test_expired_rows_are_dropped_before_they_are_predicted(basket):
    calls = basket.directory / "calls"
    slow = asyncio.create_task(gather(basket, [cart(1001)]))
    await asyncio.sleep(0.2)
    expired = await gather(basket, [cart(77) for _ in range(5)], {"endcap-timeout-ms": "100"})
    await slow
    before = calls.read_text().splitlines()
    assert (await gather(basket, [cart(2)]))[0].status_code == 200
    assert [answer.status_code for answer in expired] == [504] * 5
    assert calls.read_text().splitlines() == [*before, "1"]


async def test_probes_are_answered_while_a_slow_model_runs(basket):
    slow = asyncio.create_task(gather(basket, [cart(1001.5)]))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    async with httpx.AsyncClient(base_url=basket.url) as client:
        assert (await client.get("/livez")).status_code == 200
    assert time.monotonic() - started < 1.0
    await slow


async def test_overload_is_refused_with_retry_after_and_passes(basket):
    answers = await gather(basket, [cart(1000.5)] + [cart(1) for _ in range(120)])
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503}
    assert codes.count(200) >= 40
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    problem(refused, 503)
    again = await gather(basket, [cart(1) for _ in range(20)])
    assert {answer.status_code for answer in again} == {200}


async def test_clients_that_send_no_body_hold_up_nobody(basket):
    head = post(length=False, more=b"Content-Length: 10\r\n", body=b"")
    slow = [await asyncio.open_connection("127.0.0.1", basket.port) for _ in range(60)]
    for _, writer in slow:
        writer.write(head)
    await asyncio.sleep(0.2)
    answers = await gather(basket, [cart(1) for _ in range(20)])
    assert {answer.status_code for answer in answers} == {200}
    late = await asyncio.wait_for(slow[0][0].read(100), 60)
    assert late.startswith(b"HTTP/1.1 408")
    for _, writer in slow:
        writer.close()


# --- operation


def test_metrics_have_a_fixed_number_of_series(ranker):
    server, _ = ranker
    httpx.get(f"{server.url}/random-0")
    before = len(httpx.get(f"{server.url}/metrics").text.splitlines())
    with httpx.Client(base_url=server.url) as client:
        for number in range(300):
            client.get(f"/random-{number}?q={number}")
            client.post(f"/v2/models/random-{number}/infer", json={})
            client.post("/predict", json={"columns": {f"column-{number}": [1]}})
    text = httpx.get(f"{server.url}/metrics").text
    assert len(text.splitlines()) <= before + 12
    assert "random-" not in text
    assert "column-" not in text


def test_metrics_tell_requests_by_protocol_and_code_and_time_each_phase(basket):
    httpx.post(f"{basket.url}/predict", json=cart(1))
    text = httpx.get(f"{basket.url}/metrics").text
    for line in (
        'endcap_model_requests_total{code="200",model="ranker",protocol="json",version="4"}',
        'endcap_model_phase_seconds_count{model="ranker",phase="preprocess",version="4"}',
        'endcap_model_phase_seconds_count{model="ranker",phase="predict",version="4"}',
        'endcap_model_phase_seconds_count{model="ranker",phase="postprocess",version="4"}',
        'endcap_model_batch_rows_bucket{le="1.0",model="ranker",version="4"}',
    ):
        assert line in text


def test_every_log_line_is_json(basket):
    assert basket.log
    for line in basket.log.splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


async def test_sigterm_turns_unready_first_and_finishes_what_is_in_flight(tmp_path):
    python_artefact(tmp_path / "artefact", BASKET)
    model = config("python", suffix=".tar.gz", **BASKET_CONFIG)
    environ = {"ENDCAP_DRAIN_SECONDS": "1.5"}
    with serving(model, tmp_path / "artefact", tmp_path, environ) as server:
        flight = asyncio.create_task(gather(server, [cart(1003)]))
        await asyncio.sleep(0.3)
        server.process.terminate()
        await asyncio.sleep(0.4)
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/v2/health/ready")).status_code == 503
            assert (await client.get("/livez")).status_code == 200
            late = asyncio.create_task(client.post("/predict", json=cart(1), timeout=30))
            assert [answer.status_code for answer in await flight] == [200]
            assert (await late).status_code == 200
            assert (await late).headers["connection"] == "close"
        assert await asyncio.to_thread(server.process.wait, 20) == 0


def test_a_model_that_cannot_be_loaded_says_why_and_ends(tmp_path):
    lightgbm_artefact(tmp_path / "artefact")
    inputs = [{"name": "share", "type": "number"}]
    server = start(config("lightgbm", suffix=".txt", inputs=inputs), tmp_path / "artefact", tmp_path)
    assert server.process.wait(60) == 1
    assert server.reason["reason"] == "ModelLoadFailed"
    assert "takes 4 features" in server.reason["message"]
