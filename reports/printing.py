"""Printing: a template filled in.

The only file that imports Jinja2.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ..toolkit.files import package_path
from .text.markdown import cell, contrast, escape, lines

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = package_path("reports/templates")


def printed(template: str, **values: Any) -> str:
    """Return a template of ``templates/`` with these values; a missing one is an error."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: bool(name and name.endswith((".html.j2", ".svg.j2"))),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(md=escape, md_cell=cell, md_table=lines, md_contrast=contrast)
    return environment
