"""The command line: joins the commands of all rooms.  Nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from .bench.commands.bundle import bundle
from .bench.commands.compare import compare
from .bench.commands.explain import explain
from .bench.commands.search import capacity, tune
from .bench.commands.sweep import bench, sweep, worker
from .reports.commands import report
from .server.commands import serve
from .toolkit.commands import build, check, export, models, predict
from .toolkit.console import say
from .toolkit.errors import INTERRUPTED, TiankongError
from .toolkit.processes import interrupt_on_terminate

EXTRAS = {
    "torch": "build", "transformers": "build", "onnx": "build",
    "safetensors": "build", "huggingface_hub": "build", "onnxruntime": "serve",
    "starlette": "serve", "uvicorn": "serve", "locust": "bench",
    "flask": "bench", "gunicorn": "bench", "matplotlib": "report", "jinja2": "report",
    "scipy": "report", "packaging": "bench", "openvino": "openvino", "nncf": "openvino",
    "wheel": "bundle",
    "ray": "ray",
}  # fmt: skip
COMMANDS: Mapping[Callable[..., None], str] = {
    models: "models --json",
    build: "build --model builtin-small --variants onnx-fp32,onnx-int8",
    check: "check --variants onnx-int8 --gold my-gold.jsonl --json",
    predict: "predict '今天天气真[MASK]啊,适合出去玩。'",
    serve: "serve --variant onnx-int8 --port 8080",
    export: "export --triton models --variants onnx-int8 --instances 2",
    report: "report artifacts/runs/RUN.jsonl --out pages",
    sweep: "sweep --plan smoke --variants onnx-fp32,onnx-int8",
    compare: "compare onnx-fp32 onnx-int8 --json",
    capacity: "capacity onnx-int8 --slo p95=100ms",
    tune: "tune onnx-int8 --slo p95=100ms",
    worker: "worker --master 192.0.2.7:5557",
    bench: "bench --plan table --out pages",
    explain: "explain onnx-int8 --lengths 16,128 --json",
    bundle: "bundle onnx-int8 deployment --cores 2",
}
"""Every command and its example, in the order of the help."""

app = typer.Typer(
    name="tiankong",
    help="Which variant of a Chinese masked language model, on which machine, for how much money.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"tiankong {version('tiankong')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Exit codes: 0 fine, 1 gate failed or regression, 2 unusable input, 3 invalid measurement."""


for _command, _example in COMMANDS.items():
    app.command(epilog=f"Example: tiankong {_example}")(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; a user's mistake is one line, no traceback."""
    interrupt_on_terminate()
    try:
        app(args=None if argv is None else list(argv), standalone_mode=True)
    except TiankongError as error:
        say(f"tiankong: {error}")
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        say(f"tiankong: this needs {error.name}: pip install 'tiankong[{extra}]'")
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:  # Typer turns Ctrl-C into this
            return _interrupted()
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    return 0


def _interrupted() -> int:
    say("tiankong: interrupted; what was finished is kept, the same command goes on from there")
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
