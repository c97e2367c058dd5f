"""The server's command: serve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..toolkit.options import Model, Onnx, TokenizerFolder


def serve(
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant (onnx-int8)")] = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one")] = 8080,
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "127.0.0.1",
    stack: Annotated[
        str, typer.Option("--stack", "--engine", help="reference, article or ray (Ray Serve)")
    ] = "reference",
    streams: Annotated[
        int, typer.Option("--streams", min=0, help="batches at a time, 0: measured")
    ] = 0,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="for each batch, 0: usable cores, shared")
    ] = 0,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="sentences in one inference, 1: each alone")
    ] = 8,
    spin: Annotated[
        bool, typer.Option("--spin", help="ONNX Runtime's threads wait by running in circles")
    ] = False,
    cache: Annotated[
        int, typer.Option("--cache", min=0, help="answers to remember for who asks the same again")
    ] = 0,
    access_log: Annotated[
        bool, typer.Option(help="a JSON line a request, on standard output")
    ] = True,
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="a key a line; clients need one of them")
    ] = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=0, help="processes, with --stack ray (1)")
    ] = 0,
    max_replicas: Annotated[
        int, typer.Option("--max-replicas", min=0, help="up to so many as the load asks for them")
    ] = 0,
    onnx: Onnx = None,
    tokenizer: TokenizerFolder = None,
) -> None:
    """Serve one variant over HTTP until stopped."""
    from ..toolkit.building.offer import read_offer
    from ..toolkit.building.store import Store
    from .launch import require_takes, run
    from .settings import Settings, known_stack

    chosen = known_stack(stack)
    settings = Settings(
        folder=Path(), host=host, port=port, streams=streams, threads=threads,
        max_batch=max_batch, spin=spin, cache=cache, access_log=access_log,
        api_key_file=api_key_file, replicas=replicas, max_replicas=max_replicas,
    )  # fmt: skip
    require_takes(chosen, settings)
    offer = read_offer(onnx, tokenizer)
    built = Store("" if offer else model, offer=offer).to_open(variant)
    run(chosen, replace(settings, folder=built.folder))
