"""Training examples for the built-in model: poems, idioms in carrier sentences, everyday sentences.

Every example is a :class:`Passage`: token ids without [CLS] and [SEP], and the position of an
idiom, if it has one.  Memorizing needs repetition, so famous poems, common idioms and everyday
sentences are drawn far more often than texts of the large collections.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...files import package_path

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OWN = package_path("toolkit/models/builtin")
MAX_TOKENS = 62
SENTENCE = re.compile(r"[^\u3002\uff01\uff1f]+[\u3002\uff01\uff1f]?")
FULL_AND_HALF = [(chr(ord(half) + 0xFEE0), half) for half in ",!?:;()"]
FAMOUS = (
    "poetry/tang300.jsonl",
    "poetry/songci300.jsonl",
    "poetry/shuimotangshi.jsonl",
    "classics/tangshisanbaishou.jsonl",
    "classics/qianjiashi.jsonl",
)
KNOWN = (
    "poetry/shijing.jsonl",
    "poetry/caocao.jsonl",
    "poetry/chuci.jsonl",
    "poetry/nalan.jsonl",
    "poetry/wudai_huajianji.jsonl",
    "poetry/wudai_nantang.jsonl",
)
CLASSICS = (
    "classics/lunyu.jsonl",
    "classics/mengzi.jsonl",
    "classics/sanzijing-new.jsonl",
    "classics/qianziwen.jsonl",
    "classics/dizigui.jsonl",
    "classics/zengguangxianwen.jsonl",
    "classics/zhuzijiaxun.jsonl",
    "classics/guwenguanzhi.jsonl",
    "classics/youmengying.jsonl",
)
LARGE = ("poetry/tangshi_all.jsonl.gz", "poetry/songci_all.jsonl.gz")
# (source, share of passages); the names are methods of Corpus
MIXTURE = (
    ("idiom", 0.44),
    ("rare_idiom", 0.02),
    ("own_line", 0.10),
    ("famous_poem", 0.14),
    ("known_poem", 0.02),
    ("large_poem", 0.02),
    ("classic", 0.02),
    ("everyday", 0.18),
    ("own_everyday", 0.06),
)


@dataclass(frozen=True)
class Passage:
    """Token ids (no [CLS]/[SEP]) and the half-open span of an idiom among them, if any."""

    ids: tuple[int, ...]
    idiom: tuple[int, int] | None = None


def read_jsonl(path: Path) -> Iterator[dict[str, object]]:
    """Yield the objects of a JSON-lines file, gzipped or plain."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a text file that are not comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Corpus:
    """Weighted sampling of passages from the corpus folder and the lists beside this file."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, seed: int) -> None:
        self._tokenizer = tokenizer
        self._random = random.Random(seed)
        self._half = self._punctuation_map()
        poems = [self._poems(folder, names) for names in (FAMOUS, KNOWN, LARGE, CLASSICS)]
        self._famous, self._known, self._large, self._classics = poems
        own_lines = read_lines(OWN / "famous.txt")
        self._own_lines = self._encode_poems([SENTENCE.findall(line) for line in own_lines])
        tatoeba = [str(row["text"]) for row in read_jsonl(folder / "everyday/tatoeba_cmn.jsonl")]
        self._tatoeba = self._encode(tatoeba)
        self._own_everyday = self._encode(read_lines(OWN / "everyday.txt"))
        own_idioms = " ".join(read_lines(OWN / "idioms.txt")).split()
        common = [*read_lines(folder / "idioms/idioms_common.txt"), *own_idioms]
        self._idioms = self._encode(list(dict.fromkeys(i for i in common if len(i) == 4)))
        self._rare = self._encode(read_lines(folder / "idioms/idioms_4char.txt"))
        templates = read_lines(OWN / "templates.txt")
        self._templates = [self._split(t.split("{}")) for t in templates]
        self._carriers = self._carrier_passages(read_lines(OWN / "carriers.txt"))
        names, shares = zip(*MIXTURE, strict=True)
        self._draws: list[Callable[[], Passage]] = [getattr(self, f"_{n}_passage") for n in names]
        self._shares: tuple[float, ...] = shares
        self._comma = self._id(FULL_AND_HALF[0][0])

    def draw(self) -> Passage:
        """Return one passage from a source drawn by ``MIXTURE``.

        Sometimes its full-width punctuation becomes half-width, or its last token is left out.
        """
        passage = self._random.choices(self._draws, self._shares)[0]()
        ids, rng = passage.ids[:MAX_TOKENS], self._random
        if rng.random() < 0.25:
            ids = tuple(self._half.get(i, i) for i in ids)
        last_is_free = passage.idiom is None or passage.idiom[1] < len(ids)
        if rng.random() < 0.1 and len(ids) > 4 and last_is_free:
            ids = ids[:-1]
        keep = passage.idiom is not None and passage.idiom[1] <= len(ids)
        return Passage(ids, passage.idiom if keep else None)

    def _id(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        assert token_id is not None  # the vocabulary is ours
        return token_id

    def _encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [tuple(e.ids) for e in encodings]

    def _split(self, parts: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        before, after = self._encode(parts)
        return before, after

    def _punctuation_map(self) -> dict[int, int]:
        return {self._id(full): self._id(half) for full, half in FULL_AND_HALF}

    def _poems(self, folder: Path, names: Sequence[str]) -> list[list[tuple[int, ...]]]:
        texts: list[list[str]] = []
        for name in names:
            rows = read_jsonl(folder / name)
            texts += [[str(x) for x in row["lines"]] for row in rows if row["lines"]]  # type: ignore[attr-defined]
        return self._encode_poems(texts)

    def _encode_poems(self, texts: list[list[str]]) -> list[list[tuple[int, ...]]]:
        flat = self._encode([line for lines in texts for line in lines])
        position, poems = 0, []
        for lines in texts:
            poems.append(flat[position : position + len(lines)])
            position += len(lines)
        return poems

    def _carrier_passages(self, sentences: Sequence[str]) -> list[Passage]:
        known = set(self._idioms)
        passages = []
        for ids in self._encode(sentences):
            spans = [(i, i + 4) for i in range(len(ids) - 3) if ids[i : i + 4] in known]
            passages.append(Passage(ids, spans[0] if spans else None))
        return passages

    def _window(self, poems: list[list[tuple[int, ...]]]) -> Passage:
        lines = self._random.choice(poems)
        start = self._random.randrange(len(lines))
        ids = lines[start]
        for line in lines[start + 1 : start + self._random.choice((1, 1, 2, 3))]:
            if len(ids) + len(line) > MAX_TOKENS:
                break
            ids += line
        if len(ids) > MAX_TOKENS:  # prose: begin anywhere
            cut = self._random.randrange(len(ids) - MAX_TOKENS)
            ids = ids[cut : cut + MAX_TOKENS]
        return Passage(ids)

    def _splice(self, idiom: tuple[int, ...]) -> Passage:
        """Put an idiom into a template, another idiom's place, an everyday sentence or a list."""
        rng, kind = self._random, self._random.random()
        if kind < 0.42 and self._templates:
            before, after = rng.choice(self._templates)
        elif kind < 0.55 and self._carriers:
            host = rng.choice(self._carriers)
            start, end = host.idiom or (0, 0)
            before, after = host.ids[:start], host.ids[end:]
        elif kind < 0.9:
            host_ids = rng.choice(self._own_everyday if rng.random() < 0.2 else self._tatoeba)[:40]
            cut = rng.randrange(len(host_ids) + 1)
            before, after = host_ids[:cut], host_ids[cut:]
        else:
            others = [rng.choice(self._idioms) for _ in range(4)]
            place = rng.randrange(5)
            before = tuple(i for o in others[:place] for i in (*o, self._comma))
            after = tuple(i for o in others[place:] for i in (self._comma, *o))
        return Passage(before + idiom + after, (len(before), len(before) + len(idiom)))

    def _idiom_passage(self) -> Passage:
        if self._carriers and self._random.random() < 0.12:
            return self._random.choice(self._carriers)
        return self._splice(self._random.choice(self._idioms))

    def _rare_idiom_passage(self) -> Passage:
        return self._splice(self._random.choice(self._rare))

    def _own_line_passage(self) -> Passage:
        return self._window(self._own_lines)

    def _famous_poem_passage(self) -> Passage:
        return self._window(self._famous)

    def _known_poem_passage(self) -> Passage:
        return self._window(self._known)

    def _large_poem_passage(self) -> Passage:
        return self._window(self._large)

    def _classic_passage(self) -> Passage:
        return self._window(self._classics)

    def _everyday_passage(self) -> Passage:
        return Passage(self._random.choice(self._tatoeba))

    def _own_everyday_passage(self) -> Passage:
        return Passage(self._random.choice(self._own_everyday))
