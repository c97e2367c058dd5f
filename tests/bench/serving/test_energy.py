from __future__ import annotations

from pathlib import Path

import pytest

from tiankong.bench.serving import energy
from tiankong.bench.serving.energy import Counter, counters, joules

RANGE = 262_143_328_850


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    return tmp_path


def zone(powercap: Path, name: str, value: object, wraps_at: object = RANGE) -> None:
    folder = powercap / name
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{value}\n")
    (folder / "max_energy_range_uj").write_text(f"{wraps_at}\n")


def test_every_package_is_read_and_its_parts_are_not(powercap: Path) -> None:
    zone(powercap, "intel-rapl:0", 5)
    zone(powercap, "intel-rapl:1", 7, 100)
    zone(powercap, "intel-rapl:0:0", 3)  # the cores of package 0
    zone(powercap, "intel-rapl-mmio:0", 5)  # the same package through another interface
    (powercap / "intel-rapl").mkdir()
    assert counters() == {"intel-rapl:0": Counter(5, RANGE), "intel-rapl:1": Counter(7, 100)}


def test_a_machine_that_does_not_tell(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counters() == {}
    monkeypatch.setattr(energy, "POWERCAP", powercap / "none")
    assert counters() == {}
    assert joules({}, {}) is None


def test_a_package_that_cannot_be_read_is_left_out(powercap: Path) -> None:
    zone(powercap, "intel-rapl:0", "rubbish")
    zone(powercap, "intel-rapl:1", 7)
    (powercap / "intel-rapl:2").mkdir()  # no counter in it
    zone(powercap, "intel-rapl:3", 7)
    (powercap / "intel-rapl:3" / "energy_uj").unlink()
    (powercap / "intel-rapl:3" / "energy_uj").mkdir()  # an OSError, as for a user who is not root
    assert list(counters()) == ["intel-rapl:1"]


def test_energy_is_the_difference_over_all_packages(powercap: Path) -> None:
    zone(powercap, "intel-rapl:0", 1_000_000)
    zone(powercap, "intel-rapl:1", 2_000_000)
    before = counters()
    zone(powercap, "intel-rapl:0", 4_500_000)
    zone(powercap, "intel-rapl:1", 2_250_000)
    assert joules(before, counters()) == pytest.approx(3.75)


def test_a_counter_that_began_again_is_put_right(powercap: Path) -> None:
    zone(powercap, "intel-rapl:0", RANGE - 1_000_000)
    zone(powercap, "intel-rapl:1", 5_000_000, 10_000_000)
    before = counters()
    zone(powercap, "intel-rapl:0", 500_000)
    zone(powercap, "intel-rapl:1", 4_000_000, 10_000_000)
    assert joules(before, counters()) == pytest.approx(1.5 + 9.0)


def test_only_packages_read_both_times_count() -> None:
    before = {"intel-rapl:0": Counter(0, RANGE), "intel-rapl:1": Counter(0, RANGE)}
    after = {"intel-rapl:1": Counter(2_000_000, RANGE), "intel-rapl:2": Counter(9, RANGE)}
    assert joules(before, after) == 2.0
    assert joules(before, {}) is None


def test_no_energy_is_told_from_no_counter() -> None:
    same = {"intel-rapl:0": Counter(5, RANGE)}
    assert joules(same, same) == 0.0
