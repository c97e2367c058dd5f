"""Damaged files: the reader gives tensors that lie within the file, or says what is wrong."""

from __future__ import annotations

import io
import random
from collections import OrderedDict

import pytest

from tiankong.toolkit.models.pickles.reader import most_written, read_weights
from tiankong.toolkit.models.pickles.stored import RefusedPickleError, require_inside

DAMAGES = 3000


def honest(legacy: bool) -> bytes:
    """Return a file of torch.save with views, a parameter and a newer type."""
    import torch

    words = torch.randn(6, 5)
    state = OrderedDict(a=words, b=words.t(), c=torch.nn.Parameter(torch.randn(3)))
    if not legacy:
        state["d"] = torch.arange(4).to(torch.uint16)
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with a few changed, removed, added or copied elsewhere."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, other = chance.randrange(len(changed)), chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at : at + chance.randrange(1, 20)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                changed[at : at + 8] = changed[other : other + 8]
    return bytes(changed)


@pytest.mark.parametrize("legacy", [False, True])
def test_damage_is_refused_or_harmless(legacy: bool) -> None:
    chance, data = random.Random(7), honest(legacy)
    refusals = []
    for _ in range(DAMAGES):
        file = damaged(data, chance)
        try:
            weights = read_weights(io.BytesIO(file), len(file))
            require_inside(weights, most_written(len(file)))
        except RefusedPickleError as error:
            refusals.append(str(error))
            continue
        for place in weights.places.values():
            assert place.offset + place.length <= len(file)
    assert len(refusals) > DAMAGES / 2
    assert not [line for line in refusals if "\n" in line]
