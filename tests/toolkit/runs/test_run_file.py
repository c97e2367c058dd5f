"""Run files whole, torn and garbled; attempts, locks, and the first format."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cells import changed

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.machine import digest
from tiankong.toolkit.runs.lines import seal
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import (
    PACKED,
    SEARCH_FORMAT,
    SWEEP_FORMAT,
    Cell,
    Header,
    append_cell,
    create_run,
    locked,
    read_header,
    read_run,
)
from tiankong.toolkit.runs.validity import doubts, is_valid

HEADER = Header(
    run="r1",
    started="2026-01-01T00:00:00+00:00",
    tool="tiankong 0.1.0",
    model={"name": "内置"},
    gold={"name": "gold.jsonl"},
    plan={"users": [1, 4]},
    seed=7,
    machine={"cpu": "x"},
    versions={"numpy": "2"},
    variants={"onnx-int8": {"digest": "ab", "size": 1}},
)
# 1 user, 10 ms each, 1000 answers in 10 seconds: Little's law holds, nothing to doubt.
POINT = Point("onnx-int8", "reference", Load(1))
CELL = Cell(POINT, 10.0, (10.0,) * 1000, "2026-01-01T00:00:05+00:00")
# Lines as format 1 had them: latencies to the last bit, no completion times, no load but users.
FORMAT_1 = (
    '{"kind":"run","format":1,"run":"r0","started":"2025-12-01T00:00:00+00:00","tool":"0.1.0",'
    '"model":{"name":"内置"},"gold":{"name":"gold.jsonl"},"plan":{"levels":[4]},"seed":1,'
    '"machine":{"cpu":"x"},"versions":{"numpy":"2"},"variants":{"a":{"digest":"ab","size":1}}}',
    '{"kind":"cell","variant":"a","stack":"article","users":4,"seconds":4.000401889999921,'
    '"latencies_ms":[30.123456789,0.30000000000000004],"started":"2025-12-01T00:00:01+00:00",'
    '"mode":"closed","repeat":2,"warmup_seconds":1,"failures":{"HTTP 503":1},"wrong":1,'
    '"examples":["上→下"],"server_cpu_percent":71.9,"generator_cpu_percent":13.11,'
    '"other_cpu_percent":0.5,"generator_core_percent":26.21,"steal_percent":0.12,'
    '"resident_bytes":118415360,"proportional_bytes":90105856,"start_seconds":0.586,'
    '"settings":{"streams":2,"threads":2}}',
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run file with a header."""
    path = tmp_path / "runs" / "r1.jsonl"
    create_run(path, HEADER)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A run file as format 2 has it: without checksums, so that a line can be changed."""
    path = tmp_path / "runs" / "r1.jsonl"
    create_run(path, replace(HEADER, format=2))
    return path


def listed(cell: Cell) -> Cell:
    """The cell as a file gives it back: lists for tuples, arrays for times."""
    times = {name: array("d", getattr(cell, name)) for name in PACKED}
    return changed(cell, examples=list(cell.examples), changes=list(cell.changes), **times)


def test_roundtrip(path: Path) -> None:
    other = changed(CELL, users=4, failures={"503": 2}, wrong=1, examples=("上→下",))
    append_cell(path, CELL)
    append_cell(path, other)
    run = read_run(path)
    assert run.header == HEADER
    assert run.cells == (listed(CELL), listed(other))
    assert run.cells[1].point == Point("onnx-int8", "reference", Load(4))
    assert path.read_bytes().count(b"\n") == 3


def test_every_field_of_an_open_loop_cell_comes_back(path: Path) -> None:
    cell = changed(
        CELL, users=0, rate=40.5, tokens=16, batch=4, cores=2, attempt=2,
        latencies_ms=(12.345, 9.876), ends_ms=(20.001, 15.5), late_ms=(0.0, 0.25),
        server_quota_percent=88.5, throttled_percent=1.5, swapped_bytes=4096, joules=12.75,
        settings={"streams": 2}, machine=digest(HEADER.machine), changes=("kernel",),
        stages={"queue": 0.5, "engine": 7.25},
    )  # fmt: skip
    append_cell(path, cell)
    assert read_run(path).cells == (listed(cell),)


def test_a_cell_without_stages_is_written_as_before_there_were_any(path: Path) -> None:
    append_cell(path, CELL)
    assert "stages" not in json.loads(path.read_text(encoding="utf-8").splitlines()[1])


@pytest.mark.parametrize(("earlier", "kind"), [(4, SWEEP_FORMAT), (5, SEARCH_FORMAT)])
def test_an_earlier_format_with_checksums_is_read_and_gone_on_with(
    tmp_path: Path, earlier: int, kind: int
) -> None:
    path = tmp_path / "run.jsonl"
    create_run(path, replace(HEADER, format=earlier))
    append_cell(path, changed(CELL, stages={"engine": 7.25}))
    run = read_run(path)
    assert (run.header.format, run.header.sealed) == (earlier, True)
    assert run.cells[0].stages == {"engine": 7.25}
    assert run.header.identity() == replace(HEADER, format=kind).identity()


def test_times_are_packed_and_come_back_to_the_microsecond(path: Path) -> None:
    append_cell(path, changed(CELL, latencies_ms=[0.1 + 0.2, 1e-9, 12345.678901234567]))
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[1])
    for name in ("latencies_ms", "ends_ms", "late_ms"):
        assert set(line[name]) == {"count", "unit", "packed"}
    assert line["latencies_ms"]["count"] == 3
    assert [*read_run(path).cells[0].latencies_ms] == [0.3, 0.0, 12345.679]


def test_damaged_times_name_the_line(plain: Path) -> None:
    append_cell(plain, CELL, sealed=False)
    plain.write_text(plain.read_text().replace('"count":1000', '"count":999'))
    with pytest.raises(UnusableInputError, match=r"line 2: 1000 packed times, not 999"):
        read_run(plain)


def test_the_line_says_what_makes_the_cell_doubtful(path: Path) -> None:
    append_cell(path, CELL)
    append_cell(path, changed(CELL, users=2, wrong=1, steal_percent=3.0))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1]["warnings"] == []
    codes = {warn["code"]: (warn["invalidates"], warn["outside"]) for warn in lines[2]["warnings"]}
    assert codes == {"wrong-answers": (True, False), "stolen": (False, True)}
    assert set(lines[2]["warnings"][0]) == {
        "code",
        "seen",
        "advice",
        "invalidates",
        "outside",
        "figures",
    }


def test_warnings_are_derived_from_the_figures_not_taken_from_the_line(plain: Path) -> None:
    append_cell(plain, changed(CELL, wrong=1), sealed=False)
    plain.write_text(plain.read_text().replace('"wrong":1', '"wrong":0'))
    assert doubts(read_run(plain).cells[0]) == []


def test_the_last_attempt_counts_and_earlier_ones_are_kept_apart(path: Path) -> None:
    first, second = changed(CELL, steal_percent=9.0), changed(CELL, attempt=2)
    other = changed(CELL, repeat=2)
    for cell in (first, other, second):
        append_cell(path, cell)
    run = read_run(path)
    assert run.cells == (listed(other), listed(second))
    assert run.superseded == (listed(first),)


@pytest.mark.parametrize(
    "load", [{"rate": 5.0}, {"tokens": 16}, {"batch": 2}, {"cores": 1}, {"stack": "article"}]
)
def test_another_load_is_another_point(path: Path, load: dict[str, Any]) -> None:
    append_cell(path, CELL)
    append_cell(path, changed(CELL, **load))
    assert len(read_run(path).cells) == 2


def test_a_run_is_measured_into_by_one_process_at_a_time(path: Path) -> None:
    with locked(path):
        with (
            pytest.raises(UnusableInputError, match="another process is measuring into"),
            locked(path),
        ):
            pass
        append_cell(path, CELL)  # the one who holds it writes
    with locked(path):
        assert len(read_run(path).cells) == 1


def test_a_lock_ends_with_an_error(path: Path) -> None:
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    with locked(path):
        pass


def test_cells_measured_on_the_headers_machine_are_sound(path: Path) -> None:
    append_cell(path, changed(CELL, machine=digest(HEADER.machine)))
    assert is_valid(read_run(path).cells[0])


def test_a_header_with_another_machine_marks_every_cell(plain: Path) -> None:
    for users in (1, 2):
        latencies = (10.0 * users,) * 1000
        append_cell(
            plain,
            changed(CELL, users=users, latencies_ms=latencies, machine=digest(HEADER.machine)),
            sealed=False,
        )
    plain.write_text(plain.read_text().replace('"machine":{"cpu":"x"}', '"machine":{"cpu":"y"}'))
    for cell in read_run(plain).cells:
        (warning,) = doubts(cell)
        assert warning.code == "machine-changed"
        assert "fingerprint" in warning.seen
        assert not is_valid(cell)


def test_a_single_cell_of_another_machine_is_marked(plain: Path) -> None:
    own = digest(HEADER.machine)
    append_cell(plain, changed(CELL, machine=own), sealed=False)
    append_cell(plain, changed(CELL, users=0, rate=100.0, machine=own), sealed=False)
    text = plain.read_text()
    place = text.rindex(own)
    plain.write_text(text[:place] + "0" * len(own) + text[place + len(own) :])
    good, marked = read_run(plain).cells
    assert is_valid(good)
    assert list(marked.changes) == ["fingerprint"]
    assert [warn.code for warn in doubts(marked)] == ["machine-changed"]


def test_format_1_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("\n".join(FORMAT_1) + "\n", encoding="utf-8")
    run = read_run(path)
    (cell,) = run.cells
    assert run.header.plan == {"levels": [4]}
    assert cell.point == Point("a", "article", Load(4), repeat=2)
    assert list(cell.latencies_ms) == [30.123456789, 0.1 + 0.2]
    assert (cell.failed, cell.wrong, cell.examples) == (1, 1, ["上→下"])
    assert (cell.ends_ms, cell.machine, cell.attempt, cell.generators) == ((), "", 1, 1)
    assert (cell.proportional_bytes, cell.settings["streams"]) == (90105856, 2)
    codes = [warn.code for warn in doubts(cell)]
    assert codes == ["wrong-answers", "failures", "too-few"]


def test_a_search_says_the_stage_and_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    create_run(path, replace(HEADER, format=SEARCH_FORMAT))
    looked = replace(CELL, point=replace(POINT, stage="first look"))
    asked = (("streams", 2), ("spin", False))
    tried = replace(CELL, point=replace(POINT, stage="rung 1", settings=asked))
    for cell in (CELL, looked, tried):
        append_cell(path, cell)
    run = read_run(path)
    assert run.header.format == SEARCH_FORMAT
    assert [cell.point for cell in run.cells] == [POINT, looked.point, tried.point]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("stage") for line in lines] == [None, None, "first look", "rung 1"]
    assert lines[3]["asked"] == {"streams": 2, "spin": False}
    assert "asked" not in lines[1]


def test_a_search_of_another_format_is_another_one() -> None:
    assert HEADER.format == SWEEP_FORMAT
    assert replace(HEADER, format=SEARCH_FORMAT).identity() != HEADER.identity()


def test_who_began_a_run_is_kept_and_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    header = replace(HEADER, command=["tiankong", "sweep"], commit="abc")
    create_run(path, header)
    assert read_run(path).header == header
    assert header.identity() == HEADER.identity()


def test_a_header_without_command_is_written_as_before_there_were_any(path: Path) -> None:
    assert not {"command", "commit"} & set(json.loads(path.read_text(encoding="utf-8")))


def test_a_run_is_never_overwritten(path: Path) -> None:
    with pytest.raises(UnusableInputError, match="exists already"):
        create_run(path, HEADER)
    assert read_run(path).cells == ()


@pytest.mark.parametrize("torn", ['{"kind":"cell","vari', "{", '{"kind":"cell","variant":"字'])
def test_a_torn_last_line_is_left_out_then_cut(path: Path, torn: str) -> None:
    append_cell(path, CELL)
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode()[: len(torn.encode()) - 1])
    assert read_run(path).cells == (listed(CELL),)
    append_cell(path, changed(CELL, users=2))
    assert path.read_bytes().startswith(whole + b'{"kind":"cell"')
    assert [cell.load.users for cell in read_run(path).cells] == [1, 2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("garbage", "Expecting value"),
        ("", "Expecting value"),
        ("[]", ""),
        ("{}", "kind"),
        ('{"kind":"cell"}', "missing"),
        (json.dumps({"kind": "cell", "users": 1, "variant": "a", "stack": "b", "new": 1}), "new"),
        (json.dumps({"kind": "cell", "users": [1], "variant": "a", "stack": "b"}), "unhashable"),
        ('{"kind":"run","format":2}', "no place here"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(plain: Path, line: str, reason: str) -> None:
    append_cell(plain, CELL, sealed=False)
    with plain.open("a") as stream:
        stream.write(line + "\n")
    append_cell(plain, CELL, sealed=False)
    with pytest.raises(UnusableInputError, match=rf"r1\.jsonl, line 3: .*{reason}"):
        read_run(plain)


def test_files_without_a_header(tmp_path: Path, path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "torn").write_text('{"kind":"run"')
    for name in ("empty", "torn"):
        with pytest.raises(UnusableInputError, match="has no header"):
            read_run(tmp_path / name)
    append_cell(path, CELL)
    (tmp_path / "cut").write_text(path.read_text().split("\n", 1)[1])
    with pytest.raises(UnusableInputError, match="line 1: a 'cell' line has no place here"):
        read_run(tmp_path / "cut")
    with pytest.raises(UnusableInputError, match="cannot be read"):
        read_run(tmp_path / "none")


def test_another_format_is_refused(path: Path) -> None:
    path.write_text(path.read_text().replace(f'"format":{SWEEP_FORMAT}', '"format":9'))
    with pytest.raises(UnusableInputError, match="line 1: format 9, this version reads 1 to 7"):
        read_run(path)


def test_identity_leaves_out_name_time_seed_and_gate() -> None:
    again = replace(
        HEADER,
        run="r2",
        started="later",
        seed=8,
        variants={"onnx-int8": {"digest": "ab", "size": 1, "gate": {"passed": True}}},
    )
    assert again.identity() == HEADER.identity()
    for change in (
        {"model": {"name": "other"}},
        {"machine": {"cpu": "y"}},
        {"variants": {"onnx-int8": {"digest": "cd"}}},
    ):
        assert replace(HEADER, **change).identity() != HEADER.identity()


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "a figure": lambda lines: [line.replace('"users":1', '"users":2') for line in lines],
    "a digest in the header": lambda lines: [lines[0].replace('"ab"', '"cd"'), *lines[1:]],
    "a line taken out": lambda lines: [lines[0], *lines[2:]],
    "a line repeated": lambda lines: [*lines[:2], *lines[1:]],
    "two lines exchanged": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "a checksum taken off": lambda lines: [
        *lines[:2], re.sub(r',"crc32":"\w+"', "", lines[2]), *lines[3:]
    ],
    "a line written by hand": lambda lines: [*lines, lines[1].replace('"repeat":1', '"repeat":9')],
    "a line of another file": lambda lines: [
        lines[0], seal(re.sub(r',"crc32":"\w+"', "", lines[1])), *lines[2:]
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_what_was_changed_after_it_was_measured_is_not_read(kind: str, path: Path) -> None:
    for repeat in (1, 2, 3):
        append_cell(path, replace(CELL, point=replace(POINT, repeat=repeat)))
    assert len(read_run(path).cells) == 3
    changed_lines = CHANGES[kind](lines_of(path))
    assert changed_lines != lines_of(path)
    path.write_text("".join(changed_lines), encoding="utf-8")
    with pytest.raises(UnusableInputError, match=r"line \d: it(s checksum| has no checksum)"):
        read_run(path)


def test_a_run_without_checksums_is_gone_on_with_without_them(plain: Path) -> None:
    append_cell(plain, CELL, read_header(plain).sealed)
    assert "crc32" not in plain.read_text(encoding="utf-8")
    assert read_header(plain).identity() == HEADER.identity()
    assert [cell.point for cell in read_run(plain).cells] == [POINT]
