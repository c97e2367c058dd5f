"""The article's figures and what follows from them by arithmetic."""

from __future__ import annotations

import pytest

from tiankong.reports.facts.article import Row, read_article


def test_the_table_is_the_articles() -> None:
    article = read_article()
    assert article.cores == 8
    assert [(row.users, row.qps, row.p95_ms, row.cpu_percent) for row in article.rows] == [
        (1, 21, 45, 35),
        (4, 68, 62, 68),
        (8, 92, 89, 85),
        (16, 105, 130, 95),
    ]
    assert article.slowest_p95_ms == 130


def test_rows_whose_mean_lies_above_their_p95_are_found() -> None:
    article = read_article()
    assert article.rows[0].mean_ms == pytest.approx(47.62, abs=0.01)
    assert [row.users for row in article.implausible] == [1, 16]


def test_the_tail_is_what_the_slowest_twentieth_must_average() -> None:
    row = Row(users=1, qps=20, p95_ms=40, cpu_percent=10)  # mean 50 ms
    assert 0.95 * 40 + 0.05 * row.tail_ms == pytest.approx(50)
