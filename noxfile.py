"""The project's chores. They run in the environment nox itself is installed in: ``.venv/bin/nox -l`` lists them."""

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
PYTHON = (sys.executable, "-m")


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its formatter."""
    session.run(*PYTHON, "ruff", "check", ".")
    session.run(*PYTHON, "ruff", "format", "--check", ".")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Rewrite the code in the project's style."""
    session.run(*PYTHON, "ruff", "check", "--fix", ".")
    session.run(*PYTHON, "ruff", "format", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types over every module and test."""
    session.run(*PYTHON, "mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests; arguments after -- go to pytest."""
    session.run(*PYTHON, "pytest", "-q", *(session.posargs or ["-n", "auto"]))


@nox.session
def engine(session: nox.Session) -> None:
    """Build llama.cpp once into .cache (7 to 9 minutes on two cores), and run the tests that need a real engine."""
    built = str(session.run(*PYTHON, "tests.build_engine", silent=True)).split()[-1]
    session.run(*PYTHON, "pytest", "-q", "-m", "engine", *session.posargs, env={"ROOFLINE_LLAMA_BIN": built})


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into docs/_build/html; a warning is an error. Needs the extra 'docs'."""
    session.run(*PYTHON, "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "docs", "docs/_build/html")


@nox.session
def docs_refresh(session: nox.Session) -> None:
    """Write the real output into every console and pycon block of README.md and docs/."""
    session.run(*PYTHON, "tests.refresh_docs", *session.posargs)


@nox.session
def gallery(session: nox.Session) -> None:
    """Make the pictures of docs/gallery.md anew, by the commands that it shows; needs Chromium."""
    session.run(*PYTHON, "tests.refresh_gallery", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """How fast the tool itself is; prints, judges nothing."""
    session.run(*PYTHON, "tests.bench")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel (from the sdist), install it alone, and use the catalog it carries from another folder."""
    folder = Path(session.create_tmp()).resolve()
    for old in (ROOT / "dist").glob("roofline-*"):
        old.unlink()
    session.run(*PYTHON, "build", "--outdir", str(ROOT / "dist"), str(ROOT))
    (built,) = (ROOT / "dist").glob("roofline-*.whl")
    session.run(*PYTHON, "venv", "--clear", str(folder / "venv"))
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    session.run(str(binaries / "python"), "-m", "pip", "install", "--quiet", str(built), external=True)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    with session.chdir(elsewhere):
        roofline = str(binaries / "roofline")
        for kind in ("hardware", "models", "quants", "runtimes"):
            text = session.run(roofline, "list", kind, "--format", "csv", external=True, silent=True)
            rows = len(str(text).splitlines()) - 1
            if rows < 1:
                session.error(f"the installed wheel lists no {kind}")
            session.log(f"{kind}: {rows}")
        session.run(roofline, "predict", "--hw", "rpi5", "--model", "mistral7b", "--quant", "q4_0", external=True)
