"""The texts that the page's script makes, in a real browser; a real shell reads its curl line."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AWKWARD = "它说'it''s'\"$HOME\"`id`\\n\\$!\n第二行\t%00*[MASK]?;#&|<b>🙂"


@pytest.fixture(scope="module")
def call(browser: Browser) -> Iterator[Callable[..., Any]]:
    """Return a function that calls one of the script's functions."""
    script = files("tiankong.server.routes").joinpath("page-text.js").read_bytes()
    module = f"data:text/javascript;base64,{b64encode(script).decode()}"
    with browser.new_context() as context:
        page = context.new_page()

        def evaluate(name: str, *arguments: Any) -> Any:
            return page.evaluate(
                "async ([module, name, given]) => (await import(module))[name](...given)",
                [module, name, list(arguments)],
            )

        yield evaluate


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            "[mask] [Mask] 【MASK】 ［MASK］ ［ＭＡＳＫ］ [ MASK ] <mask> \\[MASK\\]",
            "{} {} {} {} {} {} {} {}",
        ),
        ("地____霜 地___霜 地__霜 地＿霜 地＿＿＿霜", "地{}霜 地{}霜 地{}霜 地{}霜 地{}霜"),
        ("（ ）（）（\u3000）【 】［ ］〔〕（____）", "{}{}{}{}{}{}{}"),
        ("地( )霜 地()霜 地[ ]霜 地(__)霜", "地{}霜 地{}霜 地{}霜 地{}霜"),
        ("半□而废 半□□废", "半{}而废 半{}{}废"),
        ("main() a[] __init__ a_b （见下） [注] (1) 《 》 “ ” 面具(mask)", None),
        ("今[MASK]天", "今{}天"),
    ],
)
def test_what_people_write_for_a_blank(
    call: Callable[..., Any], written: str, read: str | None
) -> None:
    expected = written if read is None else read.replace("{}", "[MASK]")
    assert call("withMasks", written) == expected
    assert call("withMasks", expected) == expected


def test_a_column_of_percentages_lines_up(call: Callable[..., Any]) -> None:
    shown = {
        1: "100.00 %",
        0.99999: ">99.99 %",
        0.99994: "99.99 %",
        0.9821: "98.21 %",
        0.05: "5.00 %",
        0.0001: "0.01 %",
        0.00004: "<0.01 %",
        0: "0.00 %",
    }
    assert {share: call("percent", share) for share in shown} == shown
    gains = {0.0123: "+1.23", -0.0123: "−1.23", 0.00001: "0.00", -0.00001: "0.00"}
    assert {gain: call("points", gain) for gain in gains} == gains


@pytest.mark.parametrize("text", [AWKWARD, "床前明月光,疑是地[MASK]霜。", "a+b=[MASK]&c='(d).'"])
def test_a_link_carries_any_sentence(call: Callable[..., Any], text: str) -> None:
    link = call("hashOf", text)
    assert link.isascii()
    assert not set(link) & set(" '\"()<>\n")
    assert call("textOf", link) == text


def test_a_link_typed_by_hand(call: Callable[..., Any]) -> None:
    assert call("textOf", "#text=今天[MASK]好") == "今天[MASK]好"
    assert call("textOf", "#text=100%[MASK]") == "100%[MASK]"
    assert call("textOf", "#lang=zh&text=1+1=[MASK]") == "1+1=[MASK]"
    assert [call("textOf", other) for other in ("", "#", "#context=a")] == [None, None, None]


@pytest.mark.parametrize("needs_key", [False, True])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_reads_the_curl_line_as_it_is_meant(
    call: Callable[..., Any], shell: str, needs_key: bool
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    body, url = {"text": AWKWARD}, "http://[::1]:8080/predict"
    line = call("curlLine", url, body, needs_key)
    assert "\n" not in line
    script = 'curl() { for word in "$@"; do printf "%s\\0" "$word"; done; }; ' + line
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
    words = done.stdout.split("\0")[:-1]
    key = ["-H", "Authorization: Bearer YOUR_API_KEY"] if needs_key else []
    kind = ["-H", "Content-Type: application/json"]
    assert words[:-1] == ["-s", "-g", url, *kind, *key, "-d"]
    assert json.loads(words[-1]) == body


def test_indented_json_is_the_same_value(call: Callable[..., Any]) -> None:
    value = {"a": [{"token": '"]\\\n', "score": 0.5}], "b": [], "c": {"d": [1, [2, None]]}, "e": ""}
    assert json.loads(call("indented", value)) == value


def test_rankings_are_compared(call: Callable[..., Any]) -> None:
    def ranking(**scores: float) -> list[dict[str, Any]]:
        return [{"token": token, "score": score} for token, score in scores.items()]

    found = call("compared", ranking(a=0.6, b=0.3, c=0.1), ranking(b=0.5, a=0.4, d=0.1))
    assert found["places"] == [[1, 0, -1], [1, 0, -1]]
    assert found["gains"] == [pytest.approx(0.2), pytest.approx(-0.2), None]
    assert found["largest"]["token"] == "b"
    assert call("compared", ranking(a=1.0), ranking(b=1.0))["largest"] is None


def test_the_servers_times_are_read(call: Callable[..., Any]) -> None:
    header = "total;dur=3.42, queue;dur=0.05, engine;dur=2.71"
    assert call("timings", header) == {"total": 3.42, "queue": 0.05, "engine": 2.71}
    assert call("timings", None) == {}
