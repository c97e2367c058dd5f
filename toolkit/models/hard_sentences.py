"""Sentences on which two tokenizers differ if they differ at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .tokens import CLS, MASK, PAD, SEP, UNK

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MASKED = f"今天天气真{MASK}啊。"
HARD = (
    MASKED,
    f"床前明月光,疑是地{MASK}霜。",
    f"{MASK}",
    f"{MASK}{MASK} {MASK}  {MASK}",
    f" {MASK} 前后有空格 {MASK} ",
    f"a{MASK}b 中{MASK}文 1{MASK}2",
    "[mask] [Mask] [ MASK ] [MASK [[MASK]] ［ＭＡＳＫ］ <mask> <MASK>",
    f"{CLS}开头{SEP}中间{PAD}填充{UNK}未知",
    f"{CLS}{SEP}{PAD}{UNK}{MASK}",
    "<s>句子</s> <unk> <pad> <cls> <sep> [unused1] [unused99]",
    "Hello, World! I'm GPT-4o; isn't it 3.14159?",
    "HELLO hello Hello hELLO",
    "iPhone15手机在2024年9月20日发售,售价￥5,999.00元",
    "使用Python3.11编程,A/B测试e-mail:user@example.com",
    "https://www.example.com/a_b?c=d&e=f#g",
    "2008年8月8日20:08,北京奥运会开幕",
    "café naïve résumé Ångström Zürich İstanbul ﬁne ǅ ß ẞ",
    "cafe\u0301 e\u0301\u0323 \u0323e\u0301",
    "ＡＢＣ ａｂｃ １２３ ！＂＃ ｶﾀｶﾅ ￥",
    "①②③ Ⅳ ⅳ ㍿ ㎏ ㊥ ½ ²³ ﷺ",
    "六\uf9d1 \uf900\uf901 \ufa30 \U0002f800",
    "\U00020000\U0002a6d6\U0002b740\U0002ceb0\U00030000 㐀䶵 龘靐齉爩",
    "😀😃 👨‍👩‍👧‍👦 🇨🇳 ❤️ 👍🏽",
    "零宽\u200b空格\u200c和\u200d连接\u2060符\ufeff号",
    "控制\u0000字\u0001符\u0007和\u001b还有\u007f及\u0085与\ufffd",
    "制表\t换行\n回车\r\n垂直\x0b换页\x0c结束",
    "全角\u3000空格\u00a0不断\u2003宽\u2009窄\u202f细\u1680行\u2028段\u2029末",
    "  前后  多个   空格  ",
    "“引号”‘单引’《书名》【方括】〔六角〕…—～·、;:?!",
    "你好，世界。你好,世界.",
    "한국어 문장입니다 가나다 \u1112\u1161\u11ab",
    "日本語の文章です。カタカナ がぎぐ か\u3099 ー々〆〇",
    "Привет мир Ёлка ёлка Й и\u0306",
    "مرحبا بالعالم שלום ไทย हिन्दी",
    "ΑΒΓ αβγ Ά ά ς Σ",
    "繁體中文與简体中文 臺灣台湾 裏里",
    "a" * 99 + " " + "b" * 100 + " " + "c" * 101 + " " + "x" * 300,
    "的" * 60,
    "un##believ ##able ## # ##中 中##",
    "$100+€50=£? ^_^ `code` |a| ~b~ <tag> \\n",
    "",
    " ",
)  # fmt: skip
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # ASCII to its full-width forms
SHOWN = 40  # characters or ids


def around(words: Iterable[str]) -> Iterator[str]:
    """Yield the hard sentences, then each word alone, twice, at the ends and inside of others.

    >>> list(around(["ab"]))[len(HARD):][:4]
    ['ab', 'ab ab', 'abab', '床ab前[MASK]']
    """
    yield from HARD
    for word in words:
        yield from (word, f"{word} {word}", f"{word}{word}", f"床{word}前{MASK}")
        yield from (f"{word}开头{MASK}", f"{MASK}结尾{word}", f"x{word}y 1{word}2", f"{word}s##s")
        yield from (f" {word}\u3000,{word}。", word[:-1], word[1:], " ".join(word))
        yield from (f"床{word.lower()}前", f"床{word.upper()}前", word.translate(WIDE))


def difference(ours: Tokenizer, judge: Any, texts: Iterable[str]) -> str:
    """Return how the ids of ``ours`` differ from those of AutoTokenizer's ``judge``, or ""."""
    for text in texts:  # one by one: batches start threads, which warn of later forks
        right = _ids(lambda text: judge(text, verbose=False)["input_ids"], text)
        given = _ids(lambda text: ours.encode(text).ids, text)
        if given != right or given is None:
            return (
                f"{text[:SHOWN]!r} is {_shown(right)} for AutoTokenizer, but {_shown(given)} when"
                " read back"
            )
    return ""


def _ids(cut: Callable[[str], list[int]], text: str) -> list[int] | None:
    try:
        return cut(text)
    except Exception:  # tokenizers raises bare Exception, transformers whatever it meets
        return None


def _shown(ids: Sequence[int] | None) -> str:
    if ids is None:
        return "an error"
    return " ".join(map(str, ids[:SHOWN])) + (" ..." if len(ids) > SHOWN else "")
