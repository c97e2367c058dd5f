"""Answers as bytes: what ``json.dumps`` makes of :func:`.as_body`, without going through it twice.

The first [MASK]'s ranking stands in an answer under two names.  A ranking is encoded once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring as quoted

from starlette.responses import Response

from ...toolkit.engines.predictor import Answer, Ranking

MEDIA_TYPE = "application/json"


def answered(answer: Answer, variant: str) -> Response:
    """Return the response to /predict."""
    return _response(f"{{{_members(answer)},{_variant(variant)}}}")


def all_answered(answers: Sequence[Answer], variant: str) -> Response:
    """Return the response to /predict/batch."""
    each = ",".join([f"{{{_members(answer)}}}" for answer in answers])
    return _response(f'{{"predictions":[{each}],{_variant(variant)}}}')


def _members(answer: Answer) -> str:
    masks = [_ranking(ranking) for ranking in answer]
    return f'"results":{masks[0]},"masks":[{",".join(masks)}]'


def _ranking(ranking: Ranking) -> str:
    # A score is a finite float (``Predictor.answer`` sees to it): JSON writes it as Python does.
    items = [f'{{"token":{quoted(token)},"score":{score!r}}}' for token, score in ranking]
    return f"[{','.join(items)}]"


def _variant(name: str) -> str:
    return f'"variant":{json.dumps(name, ensure_ascii=False)}'


def _response(document: str) -> Response:
    return Response(document.encode("utf-8"), media_type=MEDIA_TYPE)
