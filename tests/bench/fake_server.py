"""The reference server around a fake predictor; run as a script by the tests of planted trouble."""

from __future__ import annotations

import argparse
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tiankong.server.launch import bind
from tiankong.server.reference import serve
from tiankong.server.settings import Settings
from tiankong.toolkit.engines.predictor import Answer, Engine, Logits, Predictor, Ranked
from tiankong.toolkit.engines.text import Batch

TOP = [("上", 0.9), ("下", 0.05), ("中", 0.02), ("里", 0.01), ("外", 0.005)]


class Unused(Engine):
    """An engine as far as the server asks about one."""

    def logits(self, batch: Batch) -> Logits:
        raise NotImplementedError


class Fake:
    """Answers everything alike: after CPU work, wrongly, with errors, or with stalls."""

    name = "fake"
    mates = "none"
    pad_to = 1
    expected = None
    engine = Unused()
    encoder = SimpleNamespace(encode=list)

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.turns = count(1)

    def answer(self, encoded: list[str], *_: Any, **__: Any) -> list[Answer]:
        if self.given.stall:
            long, every = self.given.stall
            into = time.monotonic() % every
            time.sleep(long - into if into < long else 0.005)
        end = time.thread_time() + self.given.work
        while time.thread_time() < end:
            pass
        if self.given.errors and next(self.turns) % self.given.errors == 0:
            raise RuntimeError("planted")
        top = [TOP[1], TOP[0], *TOP[2:]] if self.given.wrong else TOP
        return [[[Ranked(token, score) for token, score in top]] for _ in encoded]


parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--work", type=float, default=0.0)
parser.add_argument("--wrong", action="store_true")
parser.add_argument("--errors", type=int, default=0)
parser.add_argument("--stall", type=float, nargs=2)
given = parser.parse_args()
settings = Settings(folder=Path("nowhere"), port=given.port, streams=4)
with bind(settings) as listener:
    serve(cast(Predictor, Fake(given)), settings, listener)
