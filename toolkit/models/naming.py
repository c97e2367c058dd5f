"""Which tensor of a file belongs where: names as training, wrapping and old versions left them.

A tensor belongs to the place that its name ends in (``module.bert.embeddings...``).  A name that
ends in no place is either known and unused, or stands beside the model (another head, which cannot
change what this one answers), or inside it, and then the model is another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from . import ernie
from .families import Family
from .headers import some

BUFFERS = ("position_ids", "token_type_ids")  # constants (0, 1, 2, ...), saved by old versions
WRAPPERS = {
    "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
}  # fmt: skip
"""What parallel training and compilation put into names, at their beginning or inside."""
RENAMED = {("LayerNorm", "gamma"): "weight", ("LayerNorm", "beta"): "bias"}  # as TensorFlow has it


@dataclass(frozen=True)
class Naming:
    """What becomes of a file's tensors.

    ``places`` maps stored names to those of the network; ``beside`` are other heads' tensors,
    ``inside`` those of a part that the network does not have.  ``carried`` is what names had
    before the place; ``bare`` tells that the encoder's lacked the model's name.
    """

    places: Mapping[str, str]
    beside: tuple[str, ...]
    inside: tuple[str, ...]
    carried: tuple[str, ...]
    bare: str = ""

    def remarks(self) -> list[str]:
        """Return what is unusual, a few words each."""
        said = []
        if self.carried:
            said.append(f"names of tensors carry {some(self.carried)}")
        if self.bare:
            said.append(f"names of the encoder lack {self.bare}")
        if self.beside:
            said.append(f"left out, as no part of the head that fills blanks: {some(self.beside)}")
        return said


def place_tensors(stored: Iterable[str], expected: Collection[str], model_family: Family) -> Naming:
    """Return where the tensors of a file belong in a network of these names."""
    base = model_family.base.rstrip(".")
    places: dict[str, str] = {}
    begins: set[tuple[str, ...]] = set()
    bare_begins: set[tuple[str, ...]] = set()
    carried: set[str] = set()
    others: list[str] = []
    for name in stored:
        parts = _current(name, base)
        found = _place(parts, expected, base)
        if found is None:
            others.append(name)
            continue
        place, begin = found
        places[name] = place
        begins.add(begin)
        if place != ".".join(parts[len(begin) :]):
            bare_begins.add(begin)
        carried.update(part for part in name.split(".") if part in WRAPPERS)
        carried.update(begin)
    ends = _Ends(model_family, expected, begins or {()}, bare_begins)
    left = [name for name in others if not ends.is_known(_current(name, base))]
    inside = [name for name in left if ends.is_inside(_current(name, base))]
    return Naming(
        places,
        tuple(name for name in left if name not in inside),
        tuple(inside),
        tuple(sorted(f"{part}." for part in carried)),
        model_family.base if bare_begins else "",
    )


def unwrapped(name: str) -> str:
    """Return a name without what wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _current(name: str, base: str) -> list[str]:
    """Return a name without wrappers, as transformers spells it now."""
    parts = unwrapped(name).split(".")
    if base == "bert":
        parts = [base if part == ernie.KIND else part for part in parts]
    if renamed := RENAMED.get((parts[-2], parts[-1])) if len(parts) > 1 else None:
        parts[-1] = renamed
    return parts


def _place(
    parts: list[str], expected: Collection[str], base: str
) -> tuple[str, tuple[str, ...]] | None:
    """Return the place that a name ends in, and the parts before it."""
    for begin in range(len(parts)):
        end = ".".join(parts[begin:])
        for place in (end, f"{base}.{end}"):
            if place in expected:
                return place, tuple(parts[:begin])
    return None


@dataclass(frozen=True)
class _Ends:
    """What is known of names that end in no place."""

    model_family: Family
    expected: Collection[str]
    begins: Collection[tuple[str, ...]]
    bare_begins: Collection[tuple[str, ...]]

    def is_known(self, parts: list[str]) -> bool:
        """Tell whether it is a constant or a part that only training needed."""
        base, spare = self.model_family.base, self.model_family.spare
        bare = tuple(name.removeprefix(base) for name in spare if name.startswith(base))
        return parts[-1] in BUFFERS or self._begins(parts, spare, bare)

    def is_inside(self, parts: list[str]) -> bool:
        """Tell whether it is of the encoder or of the head that fills blanks."""
        base = self.model_family.base
        bare = {n.removeprefix(base).split(".")[0] for n in self.expected if n.startswith(base)}
        within = (base, *self.model_family.head)
        return self._begins(parts, within, tuple(f"{name}." for name in bare))

    def _begins(self, parts: list[str], whole: tuple[str, ...], bare: tuple[str, ...]) -> bool:
        for known, begins in ((whole, self.begins), (bare, self.bare_begins)):
            for begin in begins:
                rest = ".".join(parts[len(begin) :])
                if tuple(parts[: len(begin)]) == begin and known and rest.startswith(known):
                    return True
        return False
