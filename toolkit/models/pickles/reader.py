"""The process that reads one pickled file and writes it as safetensors.

    python -m tiankong.toolkit.models.pickles.reader SOURCE TARGET SECONDS

It exits with 2 and one line on standard error if the file is refused.  Its memory, its CPU time and
the size of what it writes are limited before the first byte is read (:func:`_limit`).
"""

from __future__ import annotations

import mmap
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .archive import BEGINNING, read_archive
from .legacy import read_legacy
from .stored import RefusedPickleError, StoredTensor, StoredWeights, require_inside

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEBIBYTE = 1 << 20
SPARE = 512 * MEBIBYTE  # memory for NumPy and Python's objects, whatever the file's size
REFUSED = 2
_PROTOCOL = b"\x80"  # the first operation of a pickle
_TAR = b"ustar"  # at byte 257: PyTorch before 0.1.10


def most_written(size: int) -> int:
    """Return how many bytes of weights a file of ``size`` bytes may give.

    More than it has, because tensors can share numbers (a decoder and the embeddings do).
    """
    return 2 * size + MEBIBYTE


def main(source: str, target: str, seconds: str) -> int:
    """Convert one file; return the exit code."""
    path = Path(source)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            _limit(size, int(float(seconds)) + 1)
            _convert(stream, size, target)
    except RefusedPickleError as error:
        print(error, file=sys.stderr)
    except MemoryError:
        print("needs more memory than weights of its size do", file=sys.stderr)
    except (OSError, RecursionError) as error:
        print(f"could not be converted ({type(error).__name__}: {error})", file=sys.stderr)
    else:
        return 0
    return REFUSED


def _limit(size: int, seconds: int) -> None:
    """Bound what this process may use, for good: a file's claims cannot exceed it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    now = pages * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: now + size + most_written(size) + SPARE,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: most_written(size) + MEBIBYTE,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _convert(stream: Any, size: int, target: str) -> None:
    if not size:
        raise RefusedPickleError("is empty")
    weights = read_weights(stream, size)
    require_inside(weights, most_written(size))
    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # until the process ends
    write_safetensors(weights, content, target)


def read_weights(stream: Any, size: int) -> StoredWeights:
    """Return what a file of ``torch.save`` holds, in either format; raise RefusedPickleError."""
    beginning = stream.read(512)
    stream.seek(0)
    if beginning.startswith(BEGINNING):
        return read_archive(stream, size)
    if beginning[257:262] == _TAR:
        raise RefusedPickleError("is a tar file, as PyTorch before 0.1.10 wrote: save it again")
    if not beginning.startswith(_PROTOCOL):
        raise RefusedPickleError("is no file of torch.save: neither a zip file nor a pickle")
    return read_legacy(stream, size)


def write_safetensors(weights: StoredWeights, content: mmap.mmap, target: str) -> None:
    """Write tensors as safetensors; those that lie in one piece are not copied first."""
    from safetensors import TensorSpec, serialize_file

    arrays = {name: _array(weights, tensor, content) for name, tensor in weights.tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=tensor.storage.element.name,
            shape=tensor.shape,
            data_ptr=arrays[name].ctypes.data,
            data_len=arrays[name].nbytes,
        )
        for name, tensor in weights.tensors.items()
    }
    serialize_file(specs, target, metadata={"format": "pt"})


def _array(weights: StoredWeights, tensor: StoredTensor, content: mmap.mmap) -> NDArray[Any]:
    """Return a tensor's numbers in order, as unsigned integers of their width, little-endian."""
    import numpy as np

    width = tensor.storage.element.size
    if not tensor.count:
        return np.empty(tensor.shape, f"<u{width}")
    place = weights.places[tensor.storage.key]
    begin = place.offset + (tensor.storage.begin + tensor.offset) * width
    count = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    numbers = np.frombuffer(content, f"<u{width}", count, begin)
    strides = [s * width if n > 1 else 0 for n, s in zip(tensor.shape, tensor.strides, strict=True)]
    view = np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view.byteswap() if weights.swapped else view)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
