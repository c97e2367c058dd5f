"""What stands under the picture of ceilings: the kernels that they were measured with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...text import figures
from ...text.language import Language

MUCH_SLOWER = 0.9  # of the fastest kernel: an engine's own one below it is named
MUCH = 0.1  # of a sentence's operations: a precision with less decides nothing
PERCENT = 100


def ceiling_notes(found: Mapping[str, Mapping[str, Any]], language: Language) -> list[str]:
    """Say with which kernels the ceilings were measured, by the names of their variants.

    Runs made before other engines' kernels were measured too have no ``library``.
    """
    whole = {name: told for name, told in found.items() if "library" in told}
    notes = []
    if whole:
        notes.append(language.say("ceiling.best", kernels=_kernels(whole, language)))
        notes += [line for name, told in whole.items() for line in _slower(name, told, language)]
    if older := [name for name in found if name not in whole]:
        said = "ceiling.own" if whole else "ceiling.own_all"
        notes.append(language.say(said, names=language.listed(older)))
    return notes


def _kernels(found: Mapping[str, Mapping[str, Any]], language: Language) -> str:
    """Return the fastest kernel of each precision, of all that were measured for any variant."""
    best: dict[str, tuple[float, str, float | None]] = {}
    for told in found.values():
        peaks = told.get("peak_giga_per_second", {})
        for precision, rate in told["giga_per_second"].items():
            if precision not in best or rate > best[precision][0]:
                best[precision] = rate, told["library"][precision], peaks.get(precision)
    return language.listed(
        language.say(
            "ceiling.kernel" if peak is None else "ceiling.kernel_of_peak",
            precision=precision.upper(), rate=figures.significant(rate), library=library,
            **({} if peak is None else {"share": figures.percent(PERCENT * rate / peak)}),
        )
        for precision, (rate, library, peak) in sorted(best.items())
    )  # fmt: skip


def _slower(name: str, told: Mapping[str, Any], language: Language) -> Iterator[str]:
    operations = told["giga_operations"]
    for precision, own in told.get("own_giga_per_second", {}).items():
        share = own / told["giga_per_second"][precision]
        much = operations.get(precision, 0.0) >= MUCH * sum(operations.values())
        if much and share < MUCH_SLOWER:
            yield language.say(
                "ceiling.slower", precision=precision.upper(), library=told["library"]["own"],
                name=name, share=figures.percent(PERCENT * share),
            )  # fmt: skip
