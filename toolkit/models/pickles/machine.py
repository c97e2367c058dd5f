"""A pickle read as data: a machine with the few operations that weights need.

It looks up no name in Python and calls nothing that a file names.  A file's globals are compared
with a table; what they stand for is a record here (:mod:`.stored`), never the object of that name.

Why not a library:

- ``torch.load(weights_only=True)`` also has an allow-list, but believes the sizes in a file (632
  bytes can claim 4 TiB), and checked operations and sizes too little until 2.10 (advisory
  GHSA-63cw-57p8-fm3p: memory corruption).
- ``pickle.Unpickler`` with a ``find_class`` of one's own runs no code either.  But it hashes any
  value that a file uses as a key, and a few hundred bytes of nested tuples are hashed for years.
- picklescan and fickling search a file for what is dangerous; they read no tensors.
- The readers in tinygrad and in llama.cpp's converter are for files that one trusts: no bounds are
  checked, and tinygrad imports what the file names.

The operations are decoded by the standard library's :func:`pickletools.genops`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from .stored import (
    ELEMENT_TYPES,
    NEWER_TYPES,
    ElementType,
    RefusedPickleError,
    Storage,
    StoredTensor,
    shown,
)

MAX_OPERATIONS = 300_000  # a BERT of 24 layers has 15 thousand
MAX_BITS = 80  # of a whole number: the magic number of legacy files is the largest
PROTOCOLS = range(2, 6)


class Ordered(dict[str, Any]):
    """Stands for a ``collections.OrderedDict``; what its file adds to it is dropped."""


@dataclass(frozen=True)
class Maker:
    """Stands for a function or class that a file names; ``make`` takes its arguments."""

    name: str
    make: Callable[..., Any]


MARK = object()


def read_pickle(stream: BinaryIO) -> Any:
    """Read one pickle from a stream, which is left at the byte after it.

    The result consists of strings, numbers, tuples, lists, dictionaries with strings as keys,
    and of the records of :mod:`.stored`.  Raises RefusedPickleError for anything else.
    """
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if number >= MAX_OPERATIONS:
                raise RefusedPickleError(f"has a pickle of more than {MAX_OPERATIONS} operations")
            operation = OPERATIONS.get(opcode.name)
            if operation is None:
                raise RefusedPickleError(
                    f"has the pickle operation {opcode.name}, which weights do not need"
                )
            operation(machine, argument)
        return machine.result()
    except (ValueError, OverflowError, IndexError, KeyError, TypeError):
        raise RefusedPickleError("holds no whole pickle where one must be") from None


class _Machine:
    """The stack and the memo of a pickle that is being read."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the only value that is left on the stack."""
        (value,) = self.stack
        return _plain(value)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        """Take a value from the stack; a mark is none."""
        return _plain(self.stack.pop())

    def to_mark(self) -> list[Any]:
        """Take the values above the last mark, and the mark, from the stack."""
        values: list[Any] = []
        while (value := self.stack.pop()) is not MARK:
            values.append(value)
        values.reverse()
        return values

    # --- values ---

    def whole_number(self, value: int) -> None:
        if value.bit_length() > MAX_BITS:
            raise RefusedPickleError(f"has a whole number of {value.bit_length()} bits")
        self.push(value)

    def byte_text(self, value: str) -> None:
        """Push a text that Python 2 wrote: pickletools gives one character a byte."""
        self.push(value.encode("latin-1").decode("utf-8"))

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    # --- containers ---

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise RefusedPickleError(f"appends to {_kind(target)}")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise RefusedPickleError(f"sets items of {_kind(target)}")
        _fill(target, zip(values[::2], values[1::2], strict=True))

    # --- what a file names ---

    def named(self, module: str, name: str) -> None:
        if module in ("torch", "torch.storage") and name in ELEMENT_TYPES:
            self.push(ELEMENT_TYPES[name])
        elif module == "torch" and name in NEWER_TYPES:
            self.push(NEWER_TYPES[name])
        elif (module, name) in MAKERS:
            self.push(Maker(name, MAKERS[module, name]))
        else:
            raise RefusedPickleError(
                f"names {shown(f'{module}.{name}')}, which weights do not need"
                " (nothing of it was run)"
            )

    def stack_named(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise RefusedPickleError("names something by other than text")
        self.named(module, name)

    def reduce(self) -> None:
        arguments, maker = self.pop(), self.pop()
        if not isinstance(maker, Maker) or type(arguments) is not tuple:
            raise RefusedPickleError(f"calls {_kind(maker)}")
        try:
            self.push(maker.make(*arguments))
        except (TypeError, ValueError):
            raise RefusedPickleError(
                f"calls {maker.name} with arguments that PyTorch does not write"
            ) from None

    def build(self) -> None:
        """Drop what a file adds to a dictionary of weights (PyTorch: the versions of modules)."""
        self.pop()
        if not isinstance(self.stack[-1], Ordered):
            raise RefusedPickleError(f"sets attributes of {_kind(self.stack[-1])}")

    def persistent(self) -> None:
        self.push(_storage(self.pop()))


def _plain(value: Any) -> Any:
    if value is MARK:
        raise ValueError("a mark where a value must be")
    return value


def _kind(value: Any) -> str:
    """Return a word for a value; never its content, which can be endless."""
    if isinstance(value, Maker | ElementType):
        return "a function or class"
    word = {StoredTensor: "tensor", Ordered: "OrderedDict"}.get(type(value), type(value).__name__)
    return f"an {word}" if word[0] in "aeioO" else f"a {word}"


def _fill(target: dict[str, Any], items: Any) -> None:
    for name, value in items:
        if not isinstance(name, str):
            raise RefusedPickleError(f"has a key that is {_kind(name)}, not text")
        if name in target:
            raise RefusedPickleError(f"has the key {shown(name)} twice")
        target[name] = value


def _ordered(items: Any = ()) -> Ordered:
    """Make a dictionary; Python 2 hands the items over as a list of pairs."""
    if type(items) not in (list, tuple):
        raise TypeError("no list of pairs")
    made = Ordered()
    for pair in items:
        if type(pair) not in (list, tuple):
            raise TypeError("no pair")
    _fill(made, ((name, value) for name, value in items))
    return made


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise TypeError("no storage")
    return StoredTensor(storage, _size(offset), _sizes(shape), _sizes(strides))


def _tensor_v2(
    storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> StoredTensor:  # the rest: whether gradients are needed, hooks, metadata
    return _tensor(storage, offset, shape, strides)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, kind: Any, *_: Any
) -> StoredTensor:
    """Make a tensor that names its type itself; its storage is untyped."""
    untyped = isinstance(storage, Storage) and storage.element.name == ""
    if not untyped or not isinstance(kind, ElementType) or not kind.name:
        raise TypeError("no untyped storage")
    if storage.count % kind.size or storage.length != storage.count:
        raise TypeError("no whole numbers")
    count = storage.count // kind.size
    return _tensor(Storage(storage.key, kind, count, 0, count), offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise TypeError("no tensor")
    return tensor


def _size(value: Any) -> int:
    if type(value) is not int or value.bit_length() > 63:
        raise TypeError("no size")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple:
        raise TypeError("no sizes")
    return tuple(map(_size, values))


def _storage(identity: Any) -> Storage:
    """Return the storage that a persistent id names.

    It is ``("storage", class, key, device, numbers)``; in legacy files followed by None or by
    ``(key of the view, begin, numbers)``.
    """
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        raise RefusedPickleError("refers to something other than weights")
    _, element, key, device, count, *views = identity
    view = views[0] if views else None
    right = isinstance(element, ElementType) and isinstance(key, str) and isinstance(device, str)
    if not right or (view is not None and (type(view) is not tuple or len(view) != 3)):
        raise RefusedPickleError("refers to weights in a way that PyTorch does not")
    count = _size(count)
    begin, length = (0, count) if view is None else (_size(view[1]), _size(view[2]))
    if min(count, begin, length) < 0:
        raise RefusedPickleError("has a storage of a negative size")
    return Storage(key, element, count, begin, length)


MAKERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}


def _push(machine: _Machine, value: Any) -> None:
    machine.push(value)


def _put(machine: _Machine, index: int) -> None:
    machine.memo[index] = _plain(machine.stack[-1])


def _protocol(machine: _Machine, version: int) -> None:
    if version not in PROTOCOLS:
        raise RefusedPickleError(f"has a pickle of protocol {version}")


OPERATIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _protocol,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": lambda machine, _: machine.push(MARK),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), _Machine.whole_number),
    **dict.fromkeys(("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), _push),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _Machine.byte_text),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.to_mark())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.to_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": lambda machine, _: _put(machine, len(machine.memo)),
    "BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "GLOBAL": lambda machine, words: machine.named(*words.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.stack_named(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
