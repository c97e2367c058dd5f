"""/metrics promises names, labels and meanings: a scripted run counts as it always did.

``exposition.txt`` was written by the revision before :mod:`tiankong.server.http.series`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text
from starlette.testclient import TestClient

BEFORE = Path(__file__).with_name("exposition.txt")
TEXT = "今天气很[MASK]。"
TIMES = ("_seconds_sum", "_seconds_bucket", "_created")  # how long something took, or when


def run(client: TestClient) -> None:
    """Ask what is answered, what is refused, what is not there."""
    for _ in range(2):
        assert client.post("/predict", json={"text": TEXT}).status_code == 200
    assert client.post("/predict", json={"text": "今天"}).status_code == 400
    assert client.post("/predict", json={"text": "boom[MASK]"}).status_code == 500
    assert client.post("/predict/batch", json={"texts": [TEXT, "今[MASK]"]}).status_code == 200
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
    path = "/v2/models/fake/infer"
    assert client.post(path, json={"inputs": [tensor]}).status_code == 200
    assert client.get("/nowhere").status_code == 404
    assert client.get("/health/ready").status_code == 200


def lines(text: str, read: Callable[[str], Iterator[object]]) -> Iterator[str]:
    """Yield each family and sample; of times and settings no value."""
    for family in read(text):
        if family.name.startswith(("process_", "tiankong_served")):
            continue
        yield f"{family.name} {family.type} {family.documentation}"
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            value = "-" if sample.name.endswith(TIMES) else f"{sample.value:g}"
            yield f"  {sample.name} {labels} {value}"


@pytest.mark.parametrize(
    ("accept", "read"), [("", read_text), ("application/openmetrics-text", read_open)]
)
def test_a_scripted_run_counts_as_before(
    open_client: Callable[..., TestClient],
    accept: str,
    read: Callable[[str], Iterator[object]],
) -> None:
    client = open_client(max_batch=1, cache=8)
    run(client)
    told = lines(client.get("/metrics", headers={"Accept": accept}).text, read)
    before = BEFORE.read_text(encoding="utf-8").split("===\n")
    assert list(told) == before[0 if read is read_text else 1].splitlines()
