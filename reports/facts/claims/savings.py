"""What the article says about money: held to its own prices, to list prices, to our capacity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ..article import CONTRADICTORY, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, judge
from ..candidates import Candidate
from ..costs import fits, instance_capacity
from ..estimates import Estimate
from ..prices import HOURS_PER_MONTH, Price
from ..report import Report
from .findings import Finding, Statement, Value

LISTED = "second-hand"  # the kind of a list price


@dataclass(frozen=True)
class _Quoted:
    """The prices that the article names; ``small``: its deployment of the smaller model."""

    cpu: Price | None
    gpu: Price | None
    small: Price | None


def _quoted(prices: Sequence[Price]) -> _Quoted:
    def first(fits: Callable[[Price], bool]) -> Price | None:
        return next((price for price in prices if fits(price)), None)

    return _Quoted(
        first(lambda price: not price.accelerator and price.vcpu is not None),
        first(lambda price: price.accelerator is not None),
        first(lambda price: not price.accelerator and price.vcpu is None),
    )


def _listed(price: Price, prices: Sequence[Price]) -> Price | None:
    """Return the list price of the same machine: the same type, or the same accelerator."""
    for other in prices:
        same = other.type == price.type or (
            price.accelerator is not None and other.accelerator == price.accelerator
        )
        place = (other.cloud, other.currency) == (price.cloud, price.currency)
        if other.kind == LISTED and same and place:
            return other
    return None


def money(report: Report) -> tuple[Finding, ...]:
    """Return the findings on the article's prices and on "over 80 % cheaper"."""
    quoted = _quoted(report.article.prices)
    cpu, gpu = quoted.cpu, quoted.gpu
    if cpu is None or gpu is None:
        return ()
    found = [_price("cpu_price", cpu, report.prices), _price("gpu_price", gpu, report.prices)]
    if quoted.small is not None:
        found.append(_price("small_price", quoted.small, report.prices))
    return (*found, _cheaper(report, quoted, cpu, gpu), _cheaper_at_work(report, cpu, gpu))


def _price(claim: str, price: Price, prices: Sequence[Price]) -> Finding:
    quoted: dict[str, Value] = {
        "currency": price.currency, "quoted_month": price.monthly, "what": price.type,
    }  # fmt: skip
    listed = _listed(price, prices)
    if listed is None or listed.per_hour is None:
        return Finding(
            claim,
            NOT_MEASURED,
            quoted,
            (),
            (Statement("no_list_price" if price.vcpu or price.accelerator else "no_machine", {}),),
        )
    values: dict[str, Value] = {
        "currency": listed.currency, "what": listed.name, "quoted_hour": listed.per_hour,
        "quoted_hours": HOURS_PER_MONTH, "list_month": listed.monthly,
        "times": price.monthly / listed.monthly,
    }  # fmt: skip
    verdict = judge(price.monthly, Estimate(listed.monthly))
    return Finding(
        claim, verdict, quoted, (Statement("list_price", values),), (Statement("hours", values),)
    )


def _saved(cheap: float, dear: float) -> float:
    return (1 - cheap / dear) * 100


def _cheaper(report: Report, quoted: _Quoted, cpu: Price, gpu: Price) -> Finding:
    """Judge "over 80 % cheaper", a machine for a machine."""
    over = report.article.claims.cheaper_percent_over
    saved = round(_saved(cpu.monthly, gpu.monthly), 9)
    own = _saving("saved" if saved > over else "saved_not", cpu, gpu)
    sums = [Statement(own.key, {**own.values, "quoted_percent": over})]
    if quoted.small is not None:
        sums.append(_saving("saved_small", cpu, quoted.small))
    cpu_listed, gpu_listed = _listed(cpu, report.prices), _listed(gpu, report.prices)
    ours: tuple[Statement, ...] = ()
    verdict = CONTRADICTORY if saved <= over else NOT_MEASURED
    if cpu_listed and gpu_listed:
        listed = _saving("saved_listed", cpu_listed, gpu_listed)
        sums.append(listed)
        ours = (Statement("saved_listed", listed.values),)
        if verdict == NOT_MEASURED:
            kept = _saved(cpu_listed.monthly, gpu_listed.monthly) > over
            verdict = REPRODUCED if kept else NOT_REPRODUCED
    return Finding("cheaper", verdict, {"quoted_percent": over}, ours, tuple(sums))


def _saving(key: str, cheap: Price, dear: Price, machines: int = 1) -> Statement:
    values: dict[str, Value] = {
        "currency": cheap.currency, "cheap_month": cheap.monthly * machines,
        "dear_month": dear.monthly, "machines": machines, "one_month": cheap.monthly,
        "saved_percent": _saved(cheap.monthly * machines, dear.monthly),
    }  # fmt: skip
    return Statement(key, values)


def _cheaper_at_work(report: Report, cpu: Price, gpu: Price) -> Finding:
    """Judge "over 80 % cheaper" for the load of the article's own table.

    Its table is of a machine of more cores than the machine it prices.
    """
    over, cores = report.article.claims.cheaper_percent_over, report.article.cores
    assert cpu.vcpu is not None
    most = max(row.qps for row in report.article.rows)
    machines = ceil(cores / cpu.vcpu)
    own = _saving("at_work", cpu, gpu, machines)
    own = Statement(own.key, {**own.values, "quoted_qps": most, "quoted_cores": cores,
                         "vcpu": cpu.vcpu})  # fmt: skip
    saved = _saved(cpu.monthly * machines, gpu.monthly)
    verdict = CONTRADICTORY if saved <= over else NOT_MEASURED
    sums = [own, *_our_savings(report, cpu, gpu, most)]
    ours = tuple(line for line in sums if line.key in OURS)
    return Finding(
        "cheaper_at_work", verdict, {"quoted_percent": over, "quoted_qps": most}, ours, tuple(sums)
    )


OURS = ("ours_quoted", "ours_listed")  # by the article's prices, by list prices


def _our_savings(report: Report, cpu: Price, gpu: Price, qps: float) -> Iterator[Statement]:
    """Yield what our capacity saves at a load, and what a T4 may carry for the claim to hold."""
    leading = report.answer.leading
    if leading is None or not report.article.is_of(report.header.model):
        return
    over = report.article.claims.cheaper_percent_over
    listed = (_listed(cpu, report.prices), _listed(gpu, report.prices))
    for key, (cheap, dear) in zip(OURS, ((cpu, gpu), listed), strict=True):
        if cheap is None or dear is None or not (carried := _carried(report, leading, cheap)):
            continue
        saving = _saving(key, cheap, dear, ceil(qps / carried))
        even = dear.monthly * (1 - over / 100) / cheap.monthly * carried
        values = {
            **saving.values, "variant": leading.variant, "carried": carried, "quoted_qps": qps,
            "even": even, "quoted_percent": over,
        }  # fmt: skip
        yield Statement(key, values)
        if (cheap, dear) == listed:
            yield _request_for_request(report, cheap, carried) or Statement("even", values)


def _request_for_request(report: Report, cheap: Price, carried: float) -> Statement | None:
    """Return what a request costs less than on the accelerator that a run measured, if one did."""
    other = report.answer.accelerator
    if other is None or other.measured is None or other.price.currency != cheap.currency:
        return None
    ours, theirs = cheap.monthly / carried, other.price.monthly / other.measured.value
    return Statement(
        "request_for_request",
        {
            "what": other.price.name, "currency": cheap.currency, "carried": carried,
            "measured": other.measured.value, "cheap_month": cheap.monthly,
            "dear_month": other.price.monthly, "saved_percent": _saved(ours, theirs),
        },
    )  # fmt: skip


def _carried(report: Report, leading: Candidate, price: Price) -> float | None:
    """Return the requests a second that one priced machine carries at the objective."""
    if leading.capacity is None or not fits(price, report.bench):
        return None
    return instance_capacity(leading.capacity.qps, price, report.bench).value
