"""The registry of engines.

A new engine is one file, which offers ``open_engine``, and one row of ``KINDS``.  Everything that
depends on the engine reads its row.  Another installed package brings an engine by an entry point
of the group ``tiankong.engines``: it has the engine's name and loads to a :class:`Kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from ..errors import UnusableInputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "tiankong.engines"
OURS = "tiankong"
ENGINES, BUILDING = f"{OURS}.toolkit.engines", f"{OURS}.toolkit.building"

Mates = Literal["any", "same length", "none"]
"""Which sentences may share a batch without changing each other's answers."""


@dataclass(frozen=True)
class Kind:
    """What the package knows about an engine without importing its library.

    Args:
        name: its name in recipes.
        title: its name in texts for people.
        module: its file, which offers ``open_engine(files: VariantFiles, threads: Threads)`` and
            returns an :class:`.Engine`.  It is imported only when needed: serving an ONNX variant
            must not need torch, serving a PyTorch variant must not need onnxruntime.
        distributions: the distributions that run its variants.  The version of the first is part
            of the key of a prepared form (see prepared.py).
        makers: the distributions that build its variants.  If the version of one changes, ``build``
            makes the variants again.
        builder: a function ``(workshop, recipe, folder)`` that writes the model's file, as
            "module:name".  The default writes the ONNX graph that the recipe's steps make.
        extra: the extra of this package that installs its distributions; without them its recipes
            are refused.  Empty: this is not checked.
        first_steps: the steps with which every recipe begins.
        last_steps: the steps that may follow, at most one of them; None: any number of any steps.
        precisions: the precisions it can compute in.
        devices: the devices it can compute on.
        families: the families of models it can run (see families.py); empty: all.
        runs_brought: it runs ONNX files that a user brings; the recipe of such a file has no steps.
        pads_exactly: in float32, padding changes no bit of its answers.
        shares_cores: calls that run at the same time can share the cores (see sharing.py).
        self_contained: it reads its prepared form only, not the variant's model file as well.
        spins: its threads can be told to spin while they wait.
        limits_streams: it runs only as many batches at once as fit the cores; further ones wait.
        uses_openblas: it may compute with NumPy's OpenBLAS.
        runs_article: the article's own server can serve its variants.
        triton: the name of its backend in Triton Inference Server; empty: there is none.
        subject: the class with which ``explain`` opens its variants, as "module:class"; empty:
            ``explain`` cannot open them.

    """

    name: str
    title: str
    module: str
    distributions: tuple[str, ...]
    makers: tuple[str, ...]
    builder: str = f"{BUILDING}.builders:write_graph"
    extra: str = ""
    first_steps: tuple[str, ...] = ("export",)
    last_steps: tuple[str, ...] | None = None
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    families: tuple[str, ...] = ()
    runs_brought: bool = False
    pads_exactly: bool = False
    shares_cores: bool = False
    self_contained: bool = False
    spins: bool = False
    limits_streams: bool = False
    uses_openblas: bool = False
    runs_article: bool = False
    triton: str = ""
    subject: str = ""


PYTORCH = Kind(
    name="pytorch",
    title="PyTorch",
    module=f"{ENGINES}.torch_engine",
    distributions=("torch", "transformers"),
    makers=("torch", "transformers"),
    builder=f"{BUILDING}.builders:write_weights",
    first_steps=(),
    last_steps=(),
    precisions=("fp32", "bf16", "fp16"),
    devices=("cpu", "cuda"),
    pads_exactly=True,
    uses_openblas=True,
    subject=f"{OURS}.bench.explain.torch_subject:TorchSubject",
)
ONNXRUNTIME = Kind(
    name="onnxruntime",
    title="ONNX Runtime",
    module=f"{ENGINES}.onnx_engine",
    distributions=("onnxruntime",),
    makers=("torch", "transformers", "onnx", "onnxruntime"),
    runs_brought=True,
    pads_exactly=True,
    shares_cores=True,
    self_contained=True,
    spins=True,
    runs_article=True,
    triton="onnxruntime",
    subject=f"{OURS}.bench.explain.onnx_subject:OnnxSubject",
)
OPENVINO = Kind(
    name="openvino",
    title="OpenVINO",
    module=f"{ENGINES}.openvino_engine",
    distributions=("openvino",),
    makers=("torch", "transformers", "openvino", "nncf"),
    builder=f"{BUILDING}.builders:write_openvino",
    extra="openvino",
    first_steps=("export", "head-at-mask", "last-layer-at-mask", "top-k"),
    last_steps=("fp16", "int8-static"),
    precisions=("fp32", "bf16"),
    families=("bert",),
    shares_cores=True,
    limits_streams=True,
    triton="openvino",
    subject=f"{OURS}.bench.explain.openvino_subject:OpenvinoSubject",
)
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        PYTORCH,
        ONNXRUNTIME,
        OPENVINO,
    )
}
"""The engines of this package by name; :func:`all_kinds` has those of other packages too."""


@dataclass(frozen=True)
class VariantFiles:
    """What an engine needs to open a variant.

    ``file`` is the model's file, relative to ``folder``.  ``digest`` identifies the variant.
    ``kept`` is the folder of its prepared form (see prepared.py); None: there is none, or nobody
    looked for it.
    """

    folder: Path
    file: str
    digest: str
    precision: str = "fp32"
    device: str = "cpu"
    kept: Path | None = None

    @property
    def path(self) -> Path:
        """The model's file."""
        return self.folder / self.file


@dataclass(frozen=True)
class Threads:
    """How an engine uses the cores.

    ``each`` is the number of threads for one batch (0: all cores this process may use), ``spin``
    whether they spin while they wait.  With ``share`` these two are not used: calls that run at
    the same time share ``cores`` cores (0: all this process may use).
    """

    each: int = 0
    spin: bool = False
    share: bool = False
    cores: int = 0


@dataclass(frozen=True)
class Expected:
    """A sentence with one [MASK], and its best tokens with their probabilities, best first."""

    text: str
    scores: Mapping[str, float]


def find_kind(name: str) -> Kind | None:
    """Return the engine of a name, this package's or another's; None if there is none.

    Raises UnusableInputError if the package that brings it is broken.
    """
    return KINDS.get(name) or _plugin(name)


def kind_of(name: str) -> Kind:
    """Return the engine of a name; raise UnusableInputError if there is none or it is broken."""
    if kind := find_kind(name):
        return kind
    raise UnusableInputError(f"unknown engine {name!r}; known: {', '.join(all_kinds())}")


def all_kinds() -> dict[str, Kind]:
    """Return all engines by name, this package's first.

    Raises UnusableInputError if a package brings a broken one, or one of a name that is taken.
    """
    from importlib.metadata import entry_points  # here: a server's start does not need it

    others = {}
    for name in sorted(entry_points(group=GROUP).names):
        if name in KINDS:
            package = _package(next(iter(entry_points(group=GROUP, name=name))))
            raise UnusableInputError(f"{package} brings an engine {name!r}, a name that is taken")
        others[name] = kind_of(name)
    return {**KINDS, **others}


def import_engine(kind: Kind) -> ModuleType:
    """Import an engine's file; a second thread that imports it waits for the first.

    Raises ModuleNotFoundError if a library of this package's engines is not installed,
    UnusableInputError if another package's engine cannot be imported.
    """
    try:
        module = import_module(kind.module)
    except ImportError as error:
        if kind.name in KINDS:  # the command line names the extra that installs it
            raise
        raise UnusableInputError(
            f"the engine {kind.name!r} cannot be imported: {str(error) or repr(error)}"
        ) from None
    if not hasattr(module, "open_engine"):
        raise UnusableInputError(f"the engine {kind.name!r}: {kind.module} has no open_engine")
    return module


@cache
def _plugin(name: str) -> Kind | None:
    """Return the engine that another installed package brings under a name."""
    from importlib.metadata import entry_points

    entries = list(entry_points(group=GROUP, name=name))
    if len(entries) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in entries))
        raise UnusableInputError(f"{packages} both bring an engine {name!r}: keep one of them")
    return _load(entries[0]) if entries else None


def _load(entry: EntryPoint) -> Kind:
    broken = f"the engine {entry.name!r} of {_package(entry)} is broken"
    try:
        kind = entry.load()
    except Exception as error:  # importing another package's module may raise anything
        line = (str(error) or repr(error)).splitlines()[0]
        raise UnusableInputError(f"{broken}: {line}") from None
    if not isinstance(kind, Kind):
        raise UnusableInputError(f"{broken}: {entry.value} is no Kind")
    if kind.name != entry.name:
        raise UnusableInputError(f"{broken}: its Kind has the name {kind.name!r}")
    return kind


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist else "a package"
