"""The reference stack's real process with a fake engine; the process tests run it.

``FAKE_DELAY`` is how many seconds a sentence with "slow" takes, ``FAKE_WARM_UP`` the sentence of
the warm-up, ``FAKE_ANNOUNCE`` a line to print on standard error once the port is bound,
``FAKE_BESIDE`` the name of a second variant, whose answers differ.
"""

from __future__ import annotations

import os
import sys

from conftest import FakeEngine, make_predictor

from tiankong.server.__main__ import read_arguments
from tiankong.server.batching import service
from tiankong.server.launch import bind
from tiankong.server.reference import serve
from tiankong.toolkit.errors import TiankongError

service.WARM_UP = os.environ.get("FAKE_WARM_UP", service.WARM_UP)
try:
    settings = read_arguments(["--variant-dir=nowhere", "--port=0", *sys.argv[1:]])
    with bind(settings) as listener:
        if "FAKE_ANNOUNCE" in os.environ:
            print(os.environ["FAKE_ANNOUNCE"], file=sys.stderr)
        engine = FakeEngine(float(os.environ["FAKE_DELAY"]))
        beside = os.environ.get("FAKE_BESIDE")
        other = make_predictor(FakeEngine(shift=1), beside) if beside else None
        serve(make_predictor(engine), settings, listener, other)
except TiankongError as error:
    print(f"tiankong: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
