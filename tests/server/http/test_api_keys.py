from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tiankong.server.http.api_keys import read_keys
from tiankong.toolkit.errors import UnusableInputError

KEYS = ["first-key-0123456789", "second-key-987654321"]
QUESTION = {"text": "今天气很[MASK]。"}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# for the shop\n{KEYS[0]}\n\n  {KEYS[1]}  \n")
    return path


@pytest.fixture
def guarded(open_client: Callable[..., TestClient], key_file: Path) -> TestClient:
    return open_client(api_key_file=key_file)


def test_each_key_opens_in_either_header(guarded: TestClient) -> None:
    for key in KEYS:
        for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
            assert guarded.post("/predict", json=QUESTION, headers=headers).status_code == 200
    lower = {"authorization": f"bearer {KEYS[0]}"}
    assert guarded.get("/metrics", headers=lower).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {KEYS[0]}x"},
        {"Authorization": f"Bearer {KEYS[0][:-1]}"},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer é".encode()},
        {"X-API-Key": ""},
        {"X-API-Key": "# for the shop"},
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/v2/models/fake/infer"])
def test_no_other_does(guarded: TestClient, headers: dict[str, str], path: str) -> None:
    response = guarded.post(path, json=QUESTION, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/metrics", "/v2", "/v2/models/fake", "/no"])
def test_everything_else_is_guarded(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/openapi.json",
        "/page.js",
        "/page-words.js",
        "/page-text.js",
        "/page.json",
        "/page.css",
        "/health/live",
        "/health/ready",
        "/v2/health/ready",
    ],
)
def test_probes_and_the_page_are_open(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_without_a_file_anybody_may_ask(client: TestClient) -> None:
    assert client.post("/predict", json=QUESTION).status_code == 200


def test_of_a_file_only_digests_are_kept_and_it_is_read_once(key_file: Path) -> None:
    digests = read_keys(key_file)
    assert len(digests) == len(KEYS)
    assert not any(key.encode() in digest for key in KEYS for digest in digests)
    key_file.unlink()  # as with a pipe, which can be read only once
    assert read_keys(key_file) == digests


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "names no API key"),
        (b"# only words\n", "names no API key"),
        (b"ok-0123456789abcdef\nshort\n", "line 2"),
        ("ключ-0123456789abcdef\n".encode(), "line 1"),
        (b"two words 0123456789\n", "line 1"),
        (b"\xff\xfe", "save it as UTF-8"),
    ],
)
def test_a_file_of_no_use(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(UnusableInputError, match=complaint) as caught:
        read_keys(path)
    assert "0123456789" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="does not exist"):
        read_keys(tmp_path / "nothing")
