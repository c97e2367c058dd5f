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
from .toolkit.guard import Guard, require_ground
from .toolkit.processes import interrupt_on_terminate

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
EXIT_CODES = (
    "Exit codes: 0 fine; 1 the gate failed or a regression was found; 2 wrong usage, unusable input"
    " or a trouble of the system; 3 the measurement is invalid or inconclusive; 70 an error that"
    " nobody foresaw; 130 interrupted."
)
KEPT = "; what was finished is kept, the same command goes on from there"

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


@app.callback(epilog=EXIT_CODES)
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Show the version, or the help."""


for _command, _example in COMMANDS.items():
    app.command(epilog=f"Example: tiankong {_example}")(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; an error is one line, no traceback."""
    interrupt_on_terminate()
    arguments = sys.argv[1:] if argv is None else list(argv)
    guard = Guard("tiankong", KEPT)
    with guard:
        require_ground(arguments)
        app(args=arguments)
    return guard.code


if __name__ == "__main__":
    sys.exit(main())
