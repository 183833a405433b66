"""Every Django in an environment of its own, with the one wheel that was built.

    matrix.py newest --djangos 5.2.19 6.1.3     the newest Django that this Python can run
    matrix.py parity --djangos … --older …      Django's own suite; keys, also in older releases
    matrix.py pytest --djangos …                the Python tests

Each Django is run by the oldest Python that it supports and this machine has; .venv is the newest
Python with the newest Django, so both ends are tried. A Django that no Python here can run is
printed as a skip.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
HERE = Path(__file__).parent


# What another Django may change. The searches (tests/property, tests/queries), Wagtail and the load
# on several processes say the same in each, and take their time: they run once, in .venv.
PER_DJANGO = (
    *(f"tests/{name}" for name in ("django", "reads", "slots", "surfaces")),
    "--deselect=tests/django/test_variants.py::test_one_expiry_of_many_variants",
    "--deselect=tests/django/test_inventory.py"
    "::test_eight_processes_storing_thousands_of_urls_at_once",
)


def oldest_python(django: str) -> tuple[int, int]:
    """The oldest Python that this package and a release of Django support."""
    return (3, 11) if django.startswith("5.") else (3, 12)


def run(*command: str | Path, **extra: str) -> int:
    """Run a command in the checkout, with its output on ours."""
    sys.stdout.flush()
    return subprocess.run(
        [str(word) for word in command], cwd=ROOT, env={**os.environ, **extra}, check=False
    ).returncode


def must(*command: str | Path, **extra: str) -> None:
    """Run a command that has to succeed."""
    if code := run(*command, **extra):
        sys.exit(code)


def pythons() -> dict[tuple[int, int], str]:
    """The Pythons of this machine, oldest first."""
    listed = subprocess.run(
        ["sh", ROOT / "tests" / "pythons.sh"], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for line in listed.splitlines():
        version, _, path = line.partition(" ")
        major, minor = version.split(".")
        found[int(major), int(minor)] = path
    return found


def python_for(django: str) -> str | None:
    """The oldest Python of this machine that runs this Django, if any does."""
    floor = oldest_python(django)
    return next((path for version, path in pythons().items() if version >= floor), None)


def runnable(djangos: list[str]) -> dict[str, str]:
    """The Djangos that a Python of this machine runs, and that Python; a line for each other."""
    found = {}
    for django in djangos:
        if python := python_for(django):
            found[django] = python
        else:
            needed = ".".join(map(str, oldest_python(django)))
            print(f"SKIPPED Django {django}: no Python from {needed} on was found", flush=True)
    return found


def wheel() -> Path:
    """The wheel that `make` has built."""
    (found,) = (ROOT / "dist").glob("*.whl")
    return found


def environment(django: str, python: str) -> Path:
    """The Python of an environment with this Django, the wheel and what the tests need."""
    folder = BUILD / "environments" / f"django-{django}"
    inside = folder / "bin" / "python"
    made = folder / "made"
    if not made.exists() or made.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        must(python, "-m", "venv", folder)
        pip = (inside, "-m", "pip", "install", "--quiet")
        must(*pip, "--upgrade", "pip>=25.1")
        must(*pip, "--group", "test", f"django=={django}")
        made.touch()
    installed = folder / "wheel"
    built = str(wheel().stat().st_mtime_ns)
    if not installed.exists() or installed.read_text() != built:
        must(inside, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel())
        installed.write_text(built)
    return inside


def sdist(django: str) -> Path:
    """Django's source distribution, unpacked: the wheel has no tests in it."""
    folder = BUILD / f"django-{django}"
    if not (folder / "tests" / "runtests.py").exists():
        must(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", "django", "--dest", BUILD, f"django=={django}"),
        )
        must("tar", "-xzf", next(BUILD.glob(f"[Dd]jango-{django}.tar.gz")), "-C", BUILD)
        for unpacked in BUILD.glob(f"Django-{django}"):
            unpacked.rename(folder)
    return folder


def parity(djangos: list[str], older: list[str]) -> int:
    """Django's own suite in each Django, side by side; then the keys, in older releases too."""
    failed = 0
    suites = []
    series = {}
    for django, python in runnable(djangos).items():
        inside, source = environment(django, python), sdist(django)
        series[django.rpartition(".")[0]] = inside
        suites.append(subprocess.Popen([inside, HERE / "suite.py", source], stdout=subprocess.PIPE))
    for suite in suites:
        print(suite.communicate()[0].decode(), end="", flush=True)
        failed |= suite.returncode
    for inside in series.values():
        failed |= run(inside, HERE / "keys.py")
    for django in older:
        # An older release borrows the environment of its series.
        if host := series.get(".".join(django.split(".")[:2])):
            failed |= run(host, HERE / "keys.py", PYTHONPATH=str(older_release(django, host)))
    return failed


def older_release(django: str, inside: Path) -> Path:
    """A folder with this release of Django alone, to put before the environment's own."""
    folder = BUILD / "older" / f"django-{django}"
    if not folder.exists():
        pip = (inside, "-m", "pip", "install", "--quiet", "--no-deps")
        must(*pip, "--target", folder, f"django=={django}")
    return folder


def pytest(djangos: list[str]) -> int:
    """The Python tests in every Django but the one that .venv has."""
    import django

    failed = 0
    for version, python in runnable(djangos).items():
        if version == django.__version__:
            print(f"Django {version}: the Python tests have run with it in .venv")
        else:
            inside = environment(version, python)
            print(f"Django {version} on {python}:")
            failed |= run(inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PER_DJANGO)
    return failed


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("what", choices=("newest", "parity", "pytest"))
    words.add_argument("--djangos", nargs="+", required=True)
    words.add_argument("--older", nargs="*", default=[])
    asked = words.parse_args()
    if asked.what == "newest":
        print([d for d in asked.djangos if sys.version_info >= oldest_python(d)][-1])
        return 0
    BUILD.mkdir(exist_ok=True)
    if asked.what == "parity":
        return parity(asked.djangos, asked.older)
    return pytest(asked.djangos)


if __name__ == "__main__":
    sys.exit(main())
