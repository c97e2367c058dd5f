"""How every process of the project ends: one line, and the promised exit code.

All doors (the command line, the server, the proofs) run inside a :class:`Guard`:

    0    fine
    1    the gate failed, or a regression was found: a :class:`GateFailedError` and nothing else
    2    wrong usage, unusable input, or a trouble of the system that a user can mend
    3    the measurement is invalid or inconclusive
    70   what nobody foresaw (``EX_SOFTWARE`` of sysexits.h); the line says where the report lies
    130  interrupted
"""

from __future__ import annotations

import codecs
import errno
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .console import say
from .errors import (
    INTERRUPTED,
    UNFORESEEN,
    UNUSABLE,
    InvalidMeasurementError,
    TiankongError,
    UnusableInputError,
)
from .files import ARTIFACTS, MEBIBYTE, artifacts

EXTRAS = {
    "torch": "build", "transformers": "build", "onnx": "build", "onnxconverter_common": "build",
    "safetensors": "build", "huggingface_hub": "build", "onnxruntime": "serve",
    "starlette": "serve", "uvicorn": "serve", "locust": "bench",
    "flask": "bench", "gunicorn": "bench", "matplotlib": "report", "jinja2": "report",
    "scipy": "report", "packaging": "bench", "openvino": "openvino", "nncf": "openvino",
    "wheel": "bundle",
    "ray": "ray",
}  # fmt: skip
"""Which extra of the distribution brings a library."""

LEAST_MEMORY = 384 * MEBIBYTE
LEAST_FILES = 64
STANDARD_OUTPUT = "standard output"
ROOM = f"make room, or set {ARTIFACTS} to a larger disk"
RIGHTS = f"choose a place that can be written (--out, {ARTIFACTS}), or mend its permissions"
MEMORY = "close other programs or use a larger machine"
DESCRIPTORS = "raise 'ulimit -n'"
A_FILE = "choose another place, or move what is there out of the way"
GONE = "the reader closed it before everything was written"
ADVICE = {
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: "raise 'ulimit -f', or use another disk",
    errno.EROFS: RIGHTS, errno.EACCES: RIGHTS, errno.EPERM: RIGHTS,
    errno.ENOTDIR: A_FILE, errno.EISDIR: A_FILE, errno.EEXIST: A_FILE, errno.ENOTEMPTY: A_FILE,
    errno.ENOMEM: MEMORY, errno.EMFILE: DESCRIPTORS, errno.ENFILE: DESCRIPTORS,
    errno.EPIPE: GONE, errno.EAGAIN: "raise 'ulimit -u', or close other programs",
    errno.ENAMETOOLONG: "choose a shorter name", errno.ELOOP: "its symbolic links lead in a circle",
    errno.EBUSY: "something else uses it", errno.ETXTBSY: "something else uses it",
    errno.EIO: "the disk, or the way to it, fails", errno.ESTALE: "the network's disk has changed",
}  # fmt: skip
"""What to do about a system error, by its number."""

# How libraries that raise errors of their own tell of a trouble of the system.
TOLD = {
    os.strerror(number): number for number in ADVICE if number not in (errno.EEXIST, errno.EPERM)
}
TOLD |= dict.fromkeys(
    ("bad_alloc", "can't allocate memory", "cannot allocate memory", "failed to allocate memory",
     "failed to map segment from shared object", "can't start new thread"),
    errno.ENOMEM,
)  # fmt: skip


class Guard:
    """Context manager that ends every error in one line; ``code`` is then the exit code.

    Args:
        name: begins the line on standard error.
        kept: what to say of what an interruption leaves.

    """

    def __init__(self, name: str, kept: str = "") -> None:
        self.code = 0
        self._name = name
        self._kept = kept

    def __enter__(self) -> Guard:
        _hold_streams()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        if error is not None:
            self.code = self._ended(_cause(error))
        self._flush()
        return True

    def _ended(self, error: BaseException) -> int:
        """Say an error in one line on standard error; return the exit code."""
        if isinstance(error, SystemExit):
            line, code = "", INTERRUPTED
            if error.code != INTERRUPTED:  # Typer turns Ctrl-C into this
                if isinstance(error.code, int | None):
                    return error.code or 0
                line, code = error.code, UNUSABLE
        elif isinstance(error, KeyboardInterrupt):
            line, code = "", INTERRUPTED
        elif isinstance(error, TiankongError):
            line, code = str(error), error.exit_code
        elif told := trouble(_placed(error)):
            line, code = told, UNUSABLE
        else:
            line, code = _reported(error), UNFORESEEN
        if code == INTERRUPTED:
            line = f"interrupted{self._kept}"
        with suppress(OSError):  # standard error may be full too: the exit code remains
            say(f"{self._name}: {' '.join(line.split())}")
        return code

    def _flush(self) -> None:
        """Write what the standard streams still hold, which can fail as well."""
        for stream, number, title in (
            (sys.stdout, 1, STANDARD_OUTPUT),
            (sys.stderr, 2, "standard error"),
        ):
            try:
                stream.flush()
            except OSError as error:
                with suppress(OSError):  # what is left would fail again when Python ends
                    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
                if not self.code:
                    error.filename = title
                    self.code = self._ended(error)


def require_ground(arguments: Sequence[str]) -> None:
    """Raise UnusableInputError unless there is ground to begin on.

    The arguments must be text in the system's encoding, and limits on memory and on open files must
    leave room for the libraries: with less, some end the process themselves, with an exit code of
    their own.  The soft limit of open files is raised if need be.
    """
    for number, argument in enumerate(arguments, 1):
        if any("\ud800" <= sign <= "\udfff" for sign in argument):
            raise UnusableInputError(
                f"argument {number} is not {sys.getfilesystemencoding()} text"
                f" (its bytes: {os.fsencode(argument).hex(' ')}): write it in that encoding"
            )
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY and allowed < LEAST_MEMORY:
        raise UnusableInputError(
            f"'ulimit -v' allows {allowed / MEBIBYTE:.0f} MiB of memory, the libraries alone need"
            f" {LEAST_MEMORY / MEBIBYTE:.0f} MiB: raise it"
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and hard < LEAST_FILES:
        raise UnusableInputError(
            f"too few descriptors: 'ulimit -n' allows {hard} open files, the libraries need"
            f" {LEAST_FILES}: raise it"
        )
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_FILES, hard))


def trouble(error: BaseException) -> str:
    """Return one line about a trouble of the system and what to do, or "" for any other error."""
    if isinstance(error, ModuleNotFoundError):
        library = error.name or ""
        extra = EXTRAS.get(library.split(".")[0])
        return f"this needs {library}: pip install 'tiankong[{extra}]'" if extra else ""
    if isinstance(error, UnicodeEncodeError):
        return _unwritable(error)
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return (
            f"a text is not {error.encoding}: byte {byte:#04x} at {error.start}: save it as UTF-8"
        )
    if isinstance(error, MemoryError):
        return _line(os.strerror(errno.ENOMEM), str(error), MEMORY)
    if isinstance(error, OSError) and error.errno is not None:
        what = error.strerror or os.strerror(error.errno)
        places = [os.fsdecode(p) for p in (error.filename, error.filename2) if _is_path(p)]
        advice = ADVICE.get(error.errno, "")
        if advice == ROOM and STANDARD_OUTPUT in places:
            advice = "write it elsewhere"
        return _line(" -> ".join(places), what, advice)
    text = str(error)
    for words, number in TOLD.items():
        if words in text:
            return _line(text, ADVICE[number])
    return trouble(error.__cause__) if error.__cause__ else ""


def of_child(line: str) -> TiankongError:
    """Return the error for a child process that ended early; ``line`` ends with its last words.

    A trouble of the system is the same one for us; anything else makes a measurement invalid.
    """
    told = trouble(RuntimeError(line))
    return UnusableInputError(told) if told else InvalidMeasurementError(line)


def _line(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _is_path(place: object) -> bool:
    return isinstance(place, str | bytes | os.PathLike) and place != ""


def _unwritable(error: UnicodeEncodeError) -> str:
    piece = error.object[error.start : error.end]
    if any("\ud800" <= sign <= "\udfff" for sign in piece):
        return f"a text or name is not valid Unicode: {error.object!a} has half a surrogate"
    if codecs.lookup(error.encoding).name != codecs.lookup(sys.stdout.encoding).name:
        return f"a text has {piece!a}, which {error.encoding} cannot hold"
    return (
        f"{STANDARD_OUTPUT} is {error.encoding}, which has no {piece!a}:"
        " set PYTHONIOENCODING=utf-8, or use --json where there is that option"
    )


def _hold_streams() -> None:
    """Open standard streams that the caller has closed, so that no other file takes their place.

    Writing to such a standard output is an error, as it should be: what is asked for would be lost.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY),
                                (2, "stderr", os.O_WRONLY)):  # fmt: skip
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _placed(error: BaseException) -> BaseException:
    """Return the same error; it names standard output if what was written there is the trouble."""
    if isinstance(error, OSError) and error.filename is None:
        try:
            sys.stdout.flush()  # what could not be written is still there, and fails again
        except OSError as again:
            if again.errno == error.errno:
                error.filename = STANDARD_OUTPUT
    return error


def _cause(error: BaseException) -> BaseException:
    """Return what made Typer exit with 1 (a closed pipe, the end of a file), else the error."""
    if isinstance(error, SystemExit) and error.code == 1:
        found: BaseException | None = error.__context__
        while found is not None and found.__cause__ is not None:
            found = found.__cause__
        return found or error
    return error


def _reported(error: BaseException) -> str:
    """Write the report of an error that nobody foresaw; return a line that says where it lies."""
    what = f"{type(error).__name__}: {error}"[:300]
    said = f"this should not happen: {what}"
    try:
        text = _report(error)
    except Exception as another:  # too little memory for a report, for one
        return f"{said}; no report could be made: {another!r}"
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    failures = []
    for place in (artifacts, lambda: Path(tempfile.gettempdir(), "tiankong")):
        try:
            folder = place() / "unforeseen"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except (OSError, UnusableInputError) as refusal:
            failures.append(str(refusal))
        else:
            return f"{said}; the report is {path.absolute()}: please send it with an issue"
    return f"{said}; no report could be written ({', '.join(failures)})"


def _report(error: BaseException) -> str:
    import platform
    import shlex
    import traceback
    from importlib.metadata import distributions

    installed = sorted(f"{each.name} {each.version}" for each in distributions())
    trace = "".join(traceback.format_exception(error))
    return "\n".join(
        [
            f"command: {shlex.join(sys.argv)}",
            f"python: {platform.python_version()}, {platform.platform()}",
            "",
            trace,
            "installed: " + ", ".join(installed),
            "",
        ]
    )
