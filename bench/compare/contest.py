"""Contests: two contenders made ready for a comparison, with the right answers of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...toolkit.building.folders import Built
from ...toolkit.building.store import Store
from ...toolkit.errors import UnusableInputError
from ...toolkit.gate.answers import load
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import GoldSet, find_gold
from ...toolkit.runs.load import ARTICLE_STACK
from ..load.greeting import greet
from ..load.sentences import Questions, ask, gold_questions, shuffled
from ..load.target import OPEN, Access
from .judgement import Comparison
from .revisions import Revision, take_revision
from .rounds import CompareTerms, Opener, compare
from .side import Contender, opener, parse_contender

ASKED = 64  # sentences used if a server must first be asked for its unloaded answers


@dataclass(frozen=True)
class Contest:
    """A and B with the store and the gold set they share."""

    a: Contender
    b: Contender
    store: Store
    gold: GoldSet

    @classmethod
    def of(
        cls,
        a: str,
        b: str,
        revisions: tuple[str, ...],
        store: Store,
        gold: str,
        access: Access = OPEN,
    ) -> Contest:
        """Return the contest between the sides named on the command line.

        One revision is A's, two are A's and B's; ``access`` is how URLs are asked.  Raises
        UnusableInputError if they cannot be compared.
        """
        first, second = parse_contender(a, access), parse_contender(b, access)
        if len(revisions) > 2:
            raise UnusableInputError("--rev can be given once (A's) or twice (A's and B's)")
        access.require_used(with_url=bool(first.target or second.target))
        if revisions and (first.target or second.target):
            raise UnusableInputError("a running server has no revision: leave --rev out")
        if revisions:
            first = replace(first, revision=revisions[0])
            second = replace(second, revision=revisions[1] if len(revisions) > 1 else "")
        # Refuse an unknown name before the other side is built and checked.
        for side in (first, second):
            if not _is_foreign(side):
                store.require(side.variant)
        return cls(first, second, store, find_gold(gold))

    def run(self, terms: CompareTerms) -> Comparison:
        """Make both ready and compare them.

        Raises UnusableInputError if one cannot be served, InvalidMeasurementError if an answer is
        wrong under load or a server ends.
        """
        sides = (self.a, self.b)
        for side in sides:
            if side.target:
                greet(side.target, self.gold.texts())
        built = {side.label: self._built(side) for side in sides if not _is_foreign(side)}
        revisions = {side.label: self._revision(side) for side in sides if side.revision}
        openers = tuple(
            opener(side, built.get(side.label), revisions.get(side.label)) for side in sides
        )
        questions = self._questions(sides, built, openers, terms.seed)
        restarts = not (self.a.target or self.b.target)
        labels = (self.a.label, self.b.label)
        return compare(labels, (openers[0], openers[1]), questions, terms, restarts)

    def _built(self, side: Contender) -> Built:
        (built,) = ensure(self.store, [side.variant], self.gold)
        if side.stack == ARTICLE_STACK and not built.manifest.recipe.kind.runs_article:
            raise UnusableInputError(
                f"the article's server runs ONNX variants, {side.variant} is none"
            )
        return built

    def _revision(self, side: Contender) -> Revision:
        revision = take_revision(side.revision, self.store.model)
        commit = self.store.commit
        options = ["--convert-pickle"] * self.store.convert_pickle
        options += [] if commit is None else ["--revision", commit]
        revision.build(side.variant, *options)
        return revision

    def _questions(
        self,
        sides: tuple[Contender, Contender],
        built: dict[str, Built],
        openers: tuple[Opener, ...],
        seed: int,
    ) -> tuple[Questions, Questions]:
        """Return the same sentences for both sides, with each side's own right answers."""
        foreign = any(_is_foreign(side) for side in sides)
        questions: list[Questions] = []
        for side, open_ in zip(sides, openers, strict=True):
            if not _is_foreign(side):
                digest = built[side.label].manifest.digest
                answers = load(side.variant, digest, self.gold)
                all_questions = gold_questions(self.gold, answers, seed)
                few = Questions(all_questions.texts[:ASKED], all_questions.expected[:ASKED])
                questions.append(few if foreign else all_questions)
            else:
                with open_() as served:
                    texts = [item.text for item in shuffled(self.gold, seed)[:ASKED]]
                    questions.append(ask(served.target, texts))
        return questions[0], questions[1]


def _is_foreign(side: Contender) -> bool:
    """Whether a side's right answers are not stored here: its server is asked for them first."""
    return bool(side.target or side.revision)
