"""Write Protocol Buffers' text format, as far as a configuration needs it.

The rules are those of https://protobuf.dev/reference/protobuf/textformat-spec/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence


class Word(str):
    """The name of an enumeration's value: written without quotes."""


Scalar = str | int | bool | Word
Value = Scalar | Mapping[str, "Value"] | Sequence["Value"]
Message = Mapping[str, Value]


def text_of(message: Message) -> str:
    r"""Return a message as text; a list is a repeated field.

    >>> print(text_of({"name": "a", "dims": [-1, 3], "kind": Word("K"), "group": {"count": 1}}))
    name: "a"
    dims: [ -1, 3 ]
    kind: K
    group {
      count: 1
    }
    """
    return "\n".join(_lines(message))


def _lines(message: Message) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _block(name, value)
        elif isinstance(value, (str, int)):
            yield f"{name}: {_scalar(value)}"
        elif all(isinstance(item, (str, int)) for item in value):
            yield f"{name}: [ {', '.join(_scalar(item) for item in value)} ]"  # type: ignore[arg-type]
        else:
            for item in value:
                yield from _block(name, item)  # type: ignore[arg-type]


def _block(name: str, message: Message) -> Iterator[str]:
    yield f"{name} {{"
    yield from (f"  {line}" for line in _lines(message))
    yield "}"


def _scalar(value: Scalar) -> str:
    match value:
        case Word():
            return str(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return json.dumps(value)  # the format has JSON's quotes and escapes
