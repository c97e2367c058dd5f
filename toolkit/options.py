"""Options that several commands share, and parsers of their values."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import UnusableInputError

Model = Annotated[str, typer.Option("--model", help="one of 'tiankong models', a hub id, a folder")]
Variants = Annotated[str, typer.Option("--variants", help="names, comma-separated (default: all)")]
Recipes = Annotated[
    Path | None,
    typer.Option("--recipes", envvar="TIANKONG_RECIPES", help="folder of recipes of your own"),
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        "--calibration", help="sentences with [MASK], one a line, for the scales of 8-bit variants"
    ),
]
Gold = Annotated[str, typer.Option("--gold", help="builtin, heldout, or a JSON-lines file")]
PlanName = Annotated[
    str, typer.Option("--plan", help="table, smoke, full, scaling, open, or a TOML file")
]
Out = Annotated[Path | None, typer.Option("--out", help="folder (default: artifacts/pages)")]
Onnx = Annotated[
    Path | None, typer.Option("--onnx", help="an ONNX masked LM of your own (with --tokenizer)")
]
TokenizerFolder = Annotated[
    Path | None, typer.Option("--tokenizer", help="folder of its tokenizer.json or vocab.txt")
]
Output = Annotated[
    str, typer.Option("--output", help="which output of --onnx has the scores (if not 'logits')")
]
PromiseOf = Annotated[
    str, typer.Option("--promise", help="recipe whose promise --onnx must keep (with --model)")
]
HitAt5 = Annotated[
    float | None, typer.Option("--hit-at-5", min=0, max=1, help="least hit@5 of --onnx, 0..1")
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
ConvertPickle = Annotated[
    bool, typer.Option("--convert-pickle", help="convert pytorch_model.bin if it is all there is")
]
Revision = Annotated[str, typer.Option("--revision", help="branch, tag or commit on the hub")]
Processes = Annotated[
    int, typer.Option("--processes", min=1, help="load generator processes on this machine")
]
Workers = Annotated[
    int, typer.Option("--workers", min=0, help="number of 'tiankong worker' to wait for (0: none)")
]
BIND = "127.0.0.1:5557"
Bind = Annotated[str, typer.Option("--bind", help="HOST:PORT the workers connect to")]
Target = Annotated[str, typer.Option("--target", help="URL of a server that runs already")]
ApiKeyFile = Annotated[
    Path | None, typer.Option("--api-key-file", help="file with the key that the server wants")
]
Headers = Annotated[
    list[str] | None, typer.Option("--header", help="'Name: value' to send along; repeatable")
]
CaCert = Annotated[
    Path | None, typer.Option("--cacert", help="PEM file of whom to trust for an https URL")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="take any certificate of an https URL")]
Slower = Annotated[
    str, typer.Option("--fail-slower-than", help="5%: exit 1 if slower by more, 3 if unsure")
]

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)")
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}  # seconds
SHARE = re.compile(r"(\d+(?:\.\d+)?)(%?)")


def names(text: str) -> list[str]:
    """Return the names of a comma-separated list; raise UnusableInputError for commas alone."""
    listed = [name.strip() for name in text.split(",") if name.strip()]
    if text.strip() and not listed:
        raise UnusableInputError(f"{text!r} names nothing: leave it out for all")
    return listed


def share(text: str) -> float | None:
    """Return the share in ``5%`` or ``0.05``, None for an empty text; raise UnusableInputError."""
    if not text:
        return None
    match = SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 1.0
    if not 0 < value < 1:
        raise UnusableInputError(f"{text!r} is no share: write 5% or 0.05")
    return value


def duration(text: str) -> float:
    """Return the seconds in ``10m``, ``600s`` or ``600``; raise UnusableInputError."""
    match = DURATION.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise UnusableInputError(f"{text!r} is no duration: write 10m or 600s")
    return float(match[1]) * UNITS[match[2]]


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Return the numbers of a comma-separated list, each once; raise UnusableInputError."""
    listed = names(text)
    if not listed or not all(each.isdecimal() and int(each) > 0 for each in listed):
        raise UnusableInputError(f"{option} {text!r}: give numbers from 1, like 16,32,128")
    return tuple(dict.fromkeys(int(each) for each in listed))


def print_json(data: object) -> None:
    """Print one JSON object on standard output (strict JSON: no NaN, no infinity).

    JSON is UTF-8; where standard output is not, it is written in ASCII, which is right everywhere.
    """
    in_ascii = (sys.stdout.encoding or "").lower().replace("_", "-") not in ("utf-8", "utf8")
    print(json.dumps(data, ensure_ascii=in_ascii, allow_nan=False))
