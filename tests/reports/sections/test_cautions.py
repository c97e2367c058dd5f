"""Cautions of an answer: other prices of its machines, and why it may take more instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from explored import Kinds, report_of

from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import NO_WISHES, Wishes
from tiankong.reports.facts.report import Report
from tiankong.reports.sections.answer import card, headline
from tiankong.reports.text.language import read_language
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Cell, Header, Run

Asking = Callable[..., Report]


@pytest.fixture
def asking(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    make_open_cell: Callable[..., Cell],
    make_variant: Callable[..., dict[str, Any]],
    make_gate: Callable[..., dict[str, Any]],
    make_header: Callable[..., Header],
) -> Asking:
    """Return the report of a table of measured levels for wishes; a core may have two threads."""
    kinds = Kinds(make_run, make_cell, make_open_cell, make_variant, make_gate, make_header)

    def ask(
        wishes: Wishes = NO_WISHES,
        repeats: Sequence[float] = (0.9, 1.0, 1.12),
        threads: int | None = None,
        prices: Path | None = None,
    ) -> Report:
        machine = dict(kinds.machine) | {"threads_per_core": threads}
        run = kinds.table(tuple(repeats), skip=("near",), machine=machine)
        return report_of(run, wishes=wishes, prices=read_prices(prices) if prices else None)

    return ask


def lines(report: Report, key: str, code: str = "en") -> str:
    return " ".join(
        line.text for line in card(report, read_language(code)).lines if line.key == key
    )


def test_a_machine_of_two_prices_says_how_the_other_is_asked_for(asking: Asking) -> None:
    told = lines(asking(Wishes(price="ecs.c6.large")), "mind")
    assert "quoted from the article" in told
    assert "¥284.70 a month (second-hand): choose it with --price ecs.c6.large/second-hand" in told
    told = lines(asking(Wishes(price="ecs.c6.large/second-hand")), "mind")
    assert "¥700 a month (quoted from the article): choose it with --price ecs.c6.large," in told
    for price in ("c7i.large", "ecs.c6.large=500"):
        assert "also known" not in lines(asking(Wishes(price=price)), "mind")


def test_two_regions_of_a_machine_are_two_prices(asking: Asking, tmp_path: Path) -> None:
    one = (
        '[[price]]\ncloud = "Mine"\ntype = "box"\nkind = "quoted"\ncurrency = "EUR"\nvcpu = 2\n'
        'architecture = "x86_64"\nsource = "me"\nper_month = '
    )
    own = tmp_path / "own.toml"
    own.write_text(
        f'[sources.me]\ntitle = "my invoice"\n{one}10\n{one}12\nregion = "north"\n',
        encoding="utf-8",
    )
    told = lines(asking(prices=own), "mind")
    assert "This price is quoted from my invoice" in told
    assert "EUR 12 a month (quoted from my invoice): choose it with --price box@north" in told
    with pytest.raises(UnusableInputError, match=r"known: box, box@north$"):
        asking(Wishes(price="bax"), prices=own)


def test_a_wrong_price_is_told_how_each_is_asked_for(asking: Asking) -> None:
    with pytest.raises(UnusableInputError, match=r"known: ecs.c6.large, ecs.c6.large/second-hand,"):
        asking(Wishes(price="ecs.c6.large/listed"))
    with pytest.raises(UnusableInputError, match=r"known: T4 instance, ecs.gn6i-c4g1.xlarge$"):
        asking(Wishes(gpu_price="nothing"))


def test_the_gpu_line_says_whose_price_it_is_and_names_the_other(asking: Asking) -> None:
    told = lines(asking(), "gpu")
    assert "(¥3,500 a month, quoted from the article)" in told
    assert "¥8,489.90 a month (second-hand; --gpu-price ecs.gn6i-c4g1.xlarge)" in told
    assert "引自文章" in lines(asking(), "gpu", "zh")
    assert "also known" not in lines(asking(Wishes(gpu_price="T4 instance=9")), "gpu")


def test_each_cause_of_more_instances_is_named_only_where_it_is_one(asking: Asking) -> None:
    interval, threads = "By the interval of its requests/s alone", "hardware thread"
    both = lines(asking(), "mind")
    assert interval in both
    assert threads in both
    only_interval = lines(asking(threads=2), "mind")
    assert interval in only_interval
    assert threads not in only_interval
    only_threads = lines(asking(Wishes(load=100.0), (0.999, 1.0, 1.001)), "mind")
    assert interval not in only_threads
    assert "it may take 2 instances if a core's second thread adds nothing" in only_threads
    room = lines(asking(Wishes(load=1.0)), "mind")
    assert interval not in room
    assert threads not in room


def test_a_load_that_fills_its_instances_is_said(asking: Asking) -> None:
    # One instance is planned for 112 requests a second.
    assert "That fills 99 % of the plan for 1 instance" in lines(asking(), "assumed")
    assert "a little more load needs another" in lines(asking(Wishes(load=222.0)), "assumed")
    assert "That fills" not in lines(asking(Wishes(load=150.0)), "assumed")


def test_a_load_is_printed_as_it_was_asked(asking: Asking) -> None:
    for load, text in ((20.0, "20"), (0.5, "0.5"), (1234.5, "1234.5")):
        report = asking(Wishes(load=load))
        assert headline(report, read_language("en")).startswith(f"For {text} requests/s at")


def test_one_price_and_that_of_three_add_up_or_it_says_about(asking: Asking) -> None:
    report = asking(Wishes(load=300.0, price="c7i.large"))
    assert "3 instances" in headline(report, read_language("en"))
    assert "$195.46 a month" in headline(report, read_language("en"))
    assert "each about $65.15 a month" in lines(report, "assumed")
    assert "each ¥700 a month" in lines(asking(), "assumed")


def test_the_percentile_is_told_from_that_of_the_load(asking: Asking) -> None:
    told = lines(asking(Wishes(load=20.0)), "sure")
    assert told.startswith("At the measured level of 8 users (closed loop")
    assert "not of the load planned for" in told
