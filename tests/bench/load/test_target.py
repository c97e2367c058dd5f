from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from secured import certificate

from tiankong.bench.load.target import OPEN, Access, Target, read_access
from tiankong.toolkit.errors import UnusableInputError

KEY = "0123456789abcdef"


def test_a_base_url_loses_the_slash_at_its_end() -> None:
    assert OPEN.to("http://127.0.0.1:8080/") == Target("http://127.0.0.1:8080")
    assert OPEN.to("https://example.org/bert/").url == "https://example.org/bert"


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("127.0.0.1:8080", "is no URL of a server"),
        ("ftp://example.org", "is no URL of a server"),
        ("http://", "is no URL of a server"),
        ("http://a:99999", "is no URL of a server"),
        ("http://a:b", "is no URL of a server"),
        ("http://[::1", "is no URL of a server"),
        ("http://服务器:8080", "is no URL of a server"),
        ("http://a b", "is no URL of a server"),
        ("http://a\nb", "is no URL of a server"),
        ("http://a/?k=1", "what follows '[?]' or '#'"),
        ("http://a/#k", "what follows '[?]' or '#'"),
        ("http://me:secret@example.org", "the URL of example.org names a user"),
    ],
)
def test_what_is_no_base_url_is_said(url: str, part: str) -> None:
    with pytest.raises(UnusableInputError, match=part) as caught:
        OPEN.to(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_and_headers_are_sent_along_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# ours\n\n{KEY}\nanother-key-of-16-characters\n")
    access = read_access(["X-Tenant:  a "], tmp_path / "keys", None, insecure=False)
    assert access.headers == (("X-Tenant", "a"), ("Authorization", f"Bearer {KEY}"))
    assert KEY not in repr(access.to("http://a"))


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("secret", "write 'Name: value'"),
        (": secret", "write 'Name: value'"),
        ("Two Words: secret", "write 'Name: value'"),
        ("X: secret\r\nY: b", "its value is not printable ASCII"),
        ("X: 密钥secret", "its value is not printable ASCII"),
        ("Content-Length: 5", "the load generator sets it"),
        ("connection: close", "the load generator sets it"),
    ],
)
def test_a_header_that_cannot_be_sent_is_said(header: str, part: str) -> None:
    with pytest.raises(UnusableInputError, match=part) as caught:
        read_access([header], None, None, insecure=False)
    assert "secret" not in str(caught.value)


def test_what_excludes_each_other_is_said(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    (tmp_path / "keys").write_text(KEY)
    with pytest.raises(UnusableInputError, match="--cacert and --insecure exclude"):
        read_access([], None, cert, insecure=True)
    with pytest.raises(UnusableInputError, match="exclude each other"):
        read_access(["authorization: x"], tmp_path / "keys", None, insecure=False)


def test_a_mark_and_comments_before_a_certificate_are_left_out(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    text = cert.read_text()
    cert.write_text(f"# 我们的证书\n{text}", encoding="utf-8-sig")
    assert read_access([], None, cert, insecure=False).context() is not None


@pytest.mark.parametrize("content", [b"", b"no certificate", "证书".encode(), None])
def test_an_authority_that_is_none_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableInputError, match=r"--cacert .*(PEM|No such file)"):
        read_access([], None, path, insecure=False)


def test_certificates_are_checked_unless_told_not_to(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    named = read_access([], None, cert, insecure=False).context()
    assert (named.verify_mode, named.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(named.get_ca_certs()) == 1
    anyone = Access(insecure=True).context()
    assert (anyone.verify_mode, anyone.check_hostname) == (ssl.CERT_NONE, False)
    assert OPEN.context().verify_mode == ssl.CERT_REQUIRED


def test_a_target_survives_json() -> None:
    target = Target("https://a", Access((("X", "1"),), "PEM", insecure=True))
    data = json.loads(
        json.dumps({"url": target.url, "access": {"headers": [["X", "1"]], "authority": "PEM",
                                                  "insecure": True}})
    )  # fmt: skip
    assert Target.from_json(data) == target


def test_what_is_said_without_a_url_is_refused() -> None:
    OPEN.require_used(with_url=False)
    Access(insecure=True).require_used(with_url=True)
    with pytest.raises(UnusableInputError, match="are for the URL of a running server"):
        Access(insecure=True).require_used(with_url=False)
