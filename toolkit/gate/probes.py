"""Probe sentences: they test what the gold sentences do not.

They have no right answers; a variant only has to answer as the reference does.  They cover what a
set of short, plain Chinese sentences cannot: upper case, accents, full-width forms, characters that
are not in the vocabulary, several masks, a mask at either end, and every position of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engines.text import STRANGE, TextEncoder, TextError
from ..models.tokens import MASK

SHORT: Sequence[str] = (
    MASK,
    f"{MASK}天气真好",
    f"今天天气真{MASK}",
    f"T恤和X光都是{MASK}名。",
    f"卡拉O K厅里有A、B两种{MASK}。",
    f"A股和B股今天都{MASK}了",
    f"Beijing和SHANGHAI都是大{MASK}市。",
    f"É与e,Ü与u,{MASK}母不同。",
    f"ＡＢＣ，１２３，全角的{MASK}字。",
    f"2026年1月,{MASK}价是99.5元。",
    f"龘靐齉,这些{MASK}很少见。",
    f"漢語的繁體{MASK}和简体字",
    f"他说:“好!”她{MASK}:“不好?”",
    f"空  格\t和\n换行都在这句{MASK}里",
    f"一个表情🙂放在{MASK}子里。",
    f"{MASK}国的首都是{MASK}京。",
    f"春眠不{MASK}晓,处处闻{MASK}鸟。",
    f"{MASK}{MASK}{MASK}",
    f"床{MASK}明{MASK}光,疑{MASK}地{MASK}霜。举{MASK}望{MASK}月,低{MASK}思{MASK}乡。",
)
FILLING = (
    "今天天气真好,我们去公园散步。春眠不觉晓,处处闻啼鸟。他每天早上六点起床,先跑步,再吃早饭。"
    "白日依山尽,黄河入海流。这本书讲了一个有趣的故事。老师让我们把作业写完再出去玩。"
)
LENGTHS = (48, 128)  # tokens; a third long sentence fills every position


def probes(encoder: TextEncoder) -> dict[str, str]:
    """Return the probe sentences that an encoder can encode and mostly knows, by id.

    A model of another kind of text (proteins) knows hardly a token of them: what it makes of a row
    of unknown tokens is no answer.

    Three are long: 48 tokens, 128, and as many as the model has positions, with a [MASK] near the
    beginning, in the middle and at the end.
    """
    named = {f"probe-{number:02}": text for number, text in enumerate(SHORT, start=1)}
    lengths = sorted({min(length, encoder.max_tokens) for length in (*LENGTHS, encoder.max_tokens)})
    named |= {f"probe-{length}-tokens": _long(length) for length in lengths}
    return {name: text for name, text in named.items() if _can_encode(encoder, text)}


def _long(tokens: int) -> str:
    """Return a text of so many tokens ([CLS] and [SEP] included) if a character is one token."""
    characters = tokens - 2 - 3
    filling = (FILLING * (characters // len(FILLING) + 1))[: max(characters, 0)]
    middle = len(filling) // 2
    return f"{filling[:3]}{MASK}{filling[3:middle]}{MASK}{filling[middle:]}{MASK}"


def _can_encode(encoder: TextEncoder, text: str) -> bool:
    try:
        ids = encoder.encode(text)
    except TextError:
        return False
    return encoder.unknown_share(ids) <= STRANGE
