"""What the gate found: rates, rates by category, every flipped item, and what it cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...toolkit.building.recipes import REFERENCE
from ...toolkit.models.tokens import MASK
from ...toolkit.stats import highest_share
from ..facts.estimates import CONFIDENCE_PERCENT
from ..facts.gate import Divergent, Five, FlippedItem, Gate
from ..facts.report import Report
from ..facts.variants import VariantRow
from ..text import figures
from ..text.language import Language
from ..text.phrases import promise
from ..text.tables import Contrast, Contrasts, Entry, Ranks, Section, Table, columns

FOUND = (
    "variant", "gate", "hit1", "hit5", "guessed", "agreement", "top5", "order", "flipped", "delta",
    "divergence", "worst", "batches",
)  # fmt: skip
CATEGORY = ("category", "items", "hit1", "hit5", "agreement")
BESIDE = 24  # characters shown on each side of a blank
BLANK = "____"
SMALLEST = 0.001  # a probability below this is printed as below it
BLIND = ("users", "few", "lengths", "calibration", "machine", "small_damage")


def gate(report: Report, language: Language) -> Section:
    """Show the evidence of the gate: rates, flipped items with both answers, its limits."""
    say = language.say
    gates = [row.gate for row in report.variants if row.gate is not None]
    gold = report.header.gold
    return Section(
        "gate",
        say("heading.gate"),
        (
            say(
                "gate.lead",
                reference=REFERENCE,
                gold=gold.get("name", figures.NONE),
                items=_items(report),
            ),
        ),
        (gate_grid(report, language), *_category_grids(report, language)),
        items=tuple(_unseen(report, language)),
        notes=(say("gate.note"), say("gate.bound_note", level=figures.percent(CONFIDENCE_PERCENT))),
        gist=say(
            "gate.gist",
            variants=len(report.variants),
            passed=sum(found.passed for found in gates),
            changed=_changed(report, language),
            items=_items(report),
        ),
        contrasts=tuple(_contrasts(report, language)),
        items_lead=say("gate.unseen"),
    )


def _changed(report: Report, language: Language) -> str:
    """Return how many best tokens each variant changed, of those that changed any."""
    told = [
        language.say("gate.changed", variant=row.name, count=len(row.gate.flipped))
        for row in report.variants
        if row.gate is not None and row.gate.flipped
    ]
    return str(language.words["list"]).join(told) or language.say("gate.unchanged")


def _items(report: Report) -> str:
    return str(report.header.gold.get("items", figures.NONE))


def gate_grid(report: Report, language: Language) -> Table:
    """Return everything the gate found about every variant."""
    rows = tuple((Entry(row.name), *_found(row, language)) for row in report.variants)
    words = frozenset({0, FOUND.index("gate"), FOUND.index("batches")})
    return Table(columns(language, FOUND), rows, language.say("gate.caption"), words)


def _found(row: VariantRow, language: Language) -> tuple[Entry, ...]:
    gate = row.gate
    if gate is None:
        unasked = Entry(language.say("cell.unasked"), tone="bad")
        return (unasked, *[Entry(figures.NONE, tone="muted")] * (len(FOUND) - 2))
    shares = (
        gate.hit_at_1, gate.hit_at_5, gate.guessed, gate.top1_agreement, gate.top5_agreement,
        gate.order_agreement,
    )  # fmt: skip
    worst = figures.small(gate.worst_divergence)
    return (
        _outcome(gate, language),
        *(Entry(figures.share(share)) for share in shares),
        _flips(row.name, gate, language),
        Entry(figures.small(gate.max_delta)),
        Entry(figures.small(gate.divergence)),
        Entry(worst, gate.worst if gate.worst_divergence else ""),
        Entry(_batches(gate, language)),
    )


def _flips(variant: str, gate: Gate, language: Language) -> Entry:
    if gate.flipped is None:
        return Entry(figures.NONE)
    bound = gate.highest_flip_rate
    note = (
        ""
        if bound is None or variant == REFERENCE
        else language.say("gate.bound", bound=figures.share(bound))
    )
    return Entry(str(len(gate.flipped)), note)


def _outcome(gate: Gate, language: Language) -> Entry:
    reasons = [promise(reason, language) for reason in gate.reasons]
    word, tone = ("passed", "good") if gate.passed else ("failed", "bad")
    if not gate.judged:
        word, tone = "unjudged", "bad"
    if gate.at_chance:
        tone = "bad"
        reasons.append(language.say("cell.at_chance"))
    return Entry(language.say(f"cell.{word}"), str(language.words["list"]).join(reasons), tone)


def _batches(gate: Gate, language: Language) -> str:
    if gate.independent is None:
        return figures.NONE
    return language.say("cell.same" if gate.independent else "cell.other")


def _category_grids(report: Report, language: Language) -> Iterator[Table]:
    """Yield a table of rates by category for each variant that has them."""
    for row in report.variants:
        if row.gate is not None and row.gate.categories:
            yield Table(
                columns(language, CATEGORY),
                tuple(
                    (
                        Entry(language.say_or(f"category.{category.name}", category.name)),
                        Entry(str(category.items)),
                        Entry(figures.share(category.hit_at_1)),
                        Entry(figures.share(category.hit_at_5)),
                        Entry(figures.share(category.agreement)),
                    )
                    for category in row.gate.categories
                ),
                language.say("gate.by_category", variant=row.name),
                folded=True,
            )


def _contrasts(report: Report, language: Language) -> Iterator[Contrasts]:
    """Yield each variant's flipped items, and the question whose answer diverges most."""
    for row in report.variants:
        if row.gate is None or row.name == REFERENCE:
            continue
        pairs = [_flip(row.name, item, language) for item in row.gate.flipped or ()]
        furthest = row.gate.furthest
        if furthest is not None and row.gate.worst_divergence:
            far = _divergent(row.name, furthest, row.gate.worst_divergence, language)
            pairs = _with_furthest(pairs, far, language)
        if pairs:
            caption = language.say("gate.contrasts", variant=row.name)
            yield Contrasts(caption, _about(row, row.gate, language), tuple(pairs))


def _with_furthest(pairs: list[Contrast], far: Contrast, language: Language) -> list[Contrast]:
    """Return the flips and the question that diverges most, once if it is a flip.

    It is left out if both answers look the same.
    """
    if any(pair.name == far.name for pair in pairs):
        return [
            replace(pair, remark=language.join((pair.remark, far.remark)))
            if pair.name == far.name
            else pair
            for pair in pairs
        ]
    one, other = far.ranks
    return [*pairs, far] if one.tokens != other.tokens else pairs


def _about(row: VariantRow, found: Gate, language: Language) -> str:
    """Return what the flips of a variant come to, and how far it diverges."""
    say, bound = language.say, found.highest_flip_rate
    sentences = []
    if found.flipped is not None:
        sentences.append(
            say(
                "gate.about" if found.flipped else "gate.none_flipped",
                flipped=len(found.flipped),
                items=found.items or figures.NONE,
                lost=found.flips("reference"),
                gained=found.flips("variant"),
                neither=found.flips("neither"),
            )
        )
    if bound is not None:
        level = figures.percent(CONFIDENCE_PERCENT)
        sentences.append(say("gate.at_most", bound=figures.share(bound), level=level))
    if found.divergence is not None:
        sentences.append(
            say(
                "gate.diverges",
                mean=figures.small(found.divergence),
                worst=figures.small(found.worst_divergence),
            )
        )
    return language.join(sentences)


def _flip(variant: str, item: FlippedItem, language: Language) -> Contrast:
    before, after = _around(item.text, 1)
    return Contrast(
        item.id,
        before,
        after,
        item.answer,
        language.say(f"gate.right_{item.right}", reference=REFERENCE, variant=variant),
        (
            _ranks(REFERENCE, item.reference_five, item.reference, item.answer, language),
            _ranks(variant, item.variant_five, item.variant, item.answer, language),
        ),
        {"reference": "bad", "variant": "good"}.get(item.right, "muted"),
    )


def _divergent(variant: str, found: Divergent, nats: float, language: Language) -> Contrast:
    before, after = _around(found.text, found.mask)
    return Contrast(
        found.id,
        before,
        after,
        "",
        language.say("gate.furthest", nats=figures.small(nats)),
        (
            _ranks(REFERENCE, found.reference_five, "", "", language),
            _ranks(variant, found.variant_five, "", "", language),
        ),
        "muted",
    )


def _around(text: str, mask: int) -> tuple[str, str]:
    """Return what stands before and after a sentence's blank, each cut to ``BESIDE`` characters.

    Other masks of the sentence are blanks too.
    """
    parts = text.split(MASK)
    before, after = BLANK.join(parts[:mask]), BLANK.join(parts[mask:])
    start = before if len(before) <= BESIDE else f"…{before[-BESIDE:]}"
    return start, after if len(after) <= BESIDE else f"{after[:BESIDE]}…"


def _ranks(name: str, five: Five, best: str, answer: str, language: Language) -> Ranks:
    """Return a model's list; of an older run, which lacks it, the best token alone."""
    if not five:
        return Ranks(name, ((best, "", best == answer),))
    return Ranks(
        name,
        tuple((token, _chance(chance, language), token == answer) for token, chance in five),
    )


def _chance(probability: float, language: Language) -> str:
    if probability < SMALLEST:
        return language.say("gate.below", least=figures.share(SMALLEST))
    return figures.share(probability)


def _unseen(report: Report, language: Language) -> Iterator[str]:
    """Yield what the gate cannot see, a sentence each."""
    gates = [row.gate for row in report.variants if row.gate is not None]
    categories = dict.fromkeys(category.name for found in gates for category in found.categories)
    names = [language.say_or(f"category.{name}", name) for name in categories]
    values = {
        "items": _items(report),
        "categories": language.say("gate.and").join(names) or figures.NONE,
        "bound": _best_bound(gates),
        "level": figures.percent(CONFIDENCE_PERCENT),
    }
    for key in BLIND:
        if key != "few" or values["bound"] != figures.NONE:
            yield language.say(f"unseen.{key}", **values)
    if caveat := language.pick(report.header.model, "caveat"):
        yield language.say("unseen.model", caveat=caveat)


def _best_bound(gates: list[Gate]) -> str:
    """Return what a variant without a single flip could still have; a dash if it is not known."""
    counts = [found.items for found in gates if found.items]
    return figures.share(highest_share(0, max(counts))) if counts else figures.NONE
