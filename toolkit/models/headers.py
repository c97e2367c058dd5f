"""What safetensors files hold, by their headers alone: no weight is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import UnusableInputError


def tensor_names(paths: Iterable[Path]) -> list[str]:
    """Return the names of the tensors in safetensors files.

    Raises UnusableInputError for a file that is broken, and if two files have the same tensor.
    """
    from safetensors import SafetensorError, safe_open

    places: dict[str, Path] = {}
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as stored:
                names = list(stored.keys())
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise broken(path, error) from None
        for name in names:
            if name in places:
                raise UnusableInputError(
                    f"{name} is in {places[name].name} and in {path}: save the model again"
                )
            places[name] = path
    return list(places)


def broken(path: Path, error: BaseException) -> UnusableInputError:
    """Return the error for a file that is not whole."""
    return UnusableInputError(
        f"{path} is no whole safetensors file ({line_of(error)}): fetch or save it again"
    )


def line_of(error: BaseException) -> str:
    """Return an error's text as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def some(names: Iterable[str]) -> str:
    """Return up to three names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
