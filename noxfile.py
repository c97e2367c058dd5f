"""Every task of the project; arguments after ``--`` pass through and win.

One virtual environment serves all sessions: they need the same pinned packages, and PyTorch is
large.  It is made afresh when pyproject.toml changes.
"""

import hashlib
import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

HERE = Path(__file__).parent
ENVIRONMENT = ".nox/all"
WHAT = ".[dev]"


def install(session: nox.Session) -> None:
    """Install the project (not editable: what is tested is what a wheel holds) with its tools."""
    stamp = HERE / ENVIRONMENT / "installed"
    wanted = hashlib.sha256((HERE / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        session.install("--no-deps", "--force-reinstall", "--quiet", ".")
    else:
        session.install("--quiet", WHAT)
        stamp.write_text(wanted)
    # setuptools leaves copies behind that would shadow deleted modules in the next wheel
    shutil.rmtree(HERE / "build", ignore_errors=True)


def install_browser(session: nox.Session) -> None:
    """Install Debian's Chromium for the browser tests where that is possible and needed."""
    if shutil.which("chromium") or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    session.run("apt-get", "-qq", "update", external=True, success_codes=[0, 100])
    session.run(
        "apt-get", "-qq", "-y", "install", "--no-install-recommends", "chromium", external=True,
        silent=True, env={"DEBIAN_FRONTEND": "noninteractive"}, success_codes=[0, 100],
    )  # fmt: skip


@nox.session(venv_location=ENVIRONMENT)
def tests(session: nox.Session) -> None:
    """Run the tests."""
    install(session)
    install_browser(session)
    session.run("pytest", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    install(session)
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_location=ENVIRONMENT)
def types(session: nox.Session) -> None:
    """Check types, strictly, on the installed package."""
    install(session)
    with session.chdir(session.create_tmp()):  # so that the package found is the installed one
        session.run("mypy", "--config-file", str(HERE / "pyproject.toml"), "-p", "tiankong",
                    *session.posargs)  # fmt: skip


@nox.session(venv_location=ENVIRONMENT)
def bench(session: nox.Session) -> None:
    """Build, check, sweep and report: the main job."""
    install(session)
    session.run("tiankong", "bench", "--plan", "table", "--out", "reports/pages", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def report(session: nox.Session) -> None:
    """Write pages from the newest run file (or those named)."""
    install(session)
    session.run("tiankong", "report", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def readme(session: nox.Session) -> None:
    """Put the table of reports/pages/run.jsonl into both READMEs."""
    install(session)
    table = session.run("tiankong", "report", "--markdown", "reports/pages/run.jsonl", silent=True)
    for name in ("README.md", "README.zh-CN.md"):
        path = HERE / name
        before, rest = path.read_text(encoding="utf-8").split("<!-- table -->")
        _, after = rest.split("<!-- /table -->")
        block = f"<!-- table -->\n{str(table).strip()}\n<!-- /table -->"
        path.write_text(f"{before}{block}{after}", encoding="utf-8")
