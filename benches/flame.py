"""
Draw where the time of a hit goes: docs/images/hit-*.svg, and flame.json, from which `run.py --docs`
writes the shares.

    python benches/flame.py                       local memory and Redis
    python benches/flame.py --seconds 5

py-spy watches a program that does nothing but hits. It stops the program for each sample, so the
answer of a server arrives while nobody waits for it: the wait is a little longer than it looks.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

from flamegraph import Stacks, folded, svg

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "docs" / "images"
#: What the last run found: for each backend, the percent of each owner, and of the widest frames.
SHARES = HERE / "flame.json"
BACKENDS = {"locmem": "local memory", "redis": "Redis, through Django's RedisCache"}

#: Whose the time is: its colour, and its name.
OWNERS = {
    "core": ("#e8743b", "viewcache, compiled"),
    "ours": ("#f5b98e", "viewcache, Python"),
    "django": ("#86bd84", "Django"),
    "client": ("#8fb3d9", "the cache's client"),
    "socket": ("#b9c0c9", "kernel and server"),
    "other": ("#dddddd", "the loop around it"),
}

#: Samples in a second: so few that most hits are not stopped.
RATE = 250


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=30, help="for each backend")
    parser.add_argument("--hits", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--location", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hits:
        _hits(options.hits, options.location, options.seconds)
        return
    found = {}
    for backend, name in BACKENDS.items():
        stacks = seen(folded(_watched(backend, options.seconds)))
        title = f"A hit of 20 KB, {name}: {stacks.total():,} samples"
        (IMAGES / f"hit-{backend}.svg").write_text(svg(stacks, title, OWNERS, owner))
        found[backend] = {"shares": shares(stacks), "widest": widest(stacks)}
        print(name, found[backend])
    SHARES.write_text(json.dumps(found, indent=1) + "\n")


# -- What is watched ------------------------------------------------------------------------------


def hit(handler: Callable[[Any], Any], request: Any, close: Callable[[], None]) -> None:
    """What is drawn: everything below this frame."""
    handler(request)
    close()  # as Django does at the end of each request


def _hits(backend: str, location: str, seconds: int) -> None:
    """The program that is watched."""
    import project

    project.set_up({backend: location}, CACHE_MIDDLEWARE_ALIAS=backend)
    from django.core.cache import caches

    view = project.View(20)
    handler = project.chains(backend)["viewcache"](view)
    close = caches[backend].close
    end = monotonic() + seconds
    # The requests that are ready would be looked through again and again.
    gc.disable()
    while monotonic() < end:
        for request in [project.request() for _ in range(500)]:
            hit(handler, request, close)
    if view.calls != 1:
        raise SystemExit(f"{view.calls} pages were rendered, so these were no hits")


def _watched(backend: str, seconds: int) -> str:
    """What py-spy saw of the hits, as text."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from servers import running

    with ExitStack() as stack:
        location = "" if backend == "locmem" else stack.enter_context(running(backend)).location
        raw = Path(stack.enter_context(tempfile.TemporaryDirectory()), "stacks")
        program = [sys.executable, __file__, "--hits", backend, "--seconds", str(seconds)]
        # --idle: who waits for a server is not idle.
        spy = [Path(sys.executable).with_name("py-spy"), "record", "--native", "--idle"]
        spy += ["--rate", str(RATE), "--format", "raw", "--output", raw, "--nolineno"]
        subprocess.run([*spy, "--", *program, "--location", location], check=True)
        return raw.read_text()


# -- What was seen --------------------------------------------------------------------------------


def seen(stacks: Stacks) -> Stacks:
    """
    The frames below a hit: those of Python, one for the compiled core, one for a system call.

    What else is compiled is the interpreter at the work of the frame that called it.
    """
    kept: Stacks = Counter()
    for stack, count in stacks.items():
        names = list(_named(stack))
        if names:
            kept[tuple(names)] += count
    return kept


def _named(stack: tuple[str, ...]) -> Iterator[str]:
    inside = False
    for frame in stack:
        inside = inside or frame.startswith("hit (")
        if not inside:
            continue
        if "(viewcache/_core" in frame:
            yield _CORE
            return
        if frame.startswith(_SOCKET):
            yield f"{frame.split()[0]} {_KERNEL}"
            return
        if ".py)" in frame:
            yield frame


_CORE = "the core (viewcache/_core)"
_KERNEL = "(system call)"
#: Functions of the interpreter that do nothing but call the kernel.
_SOCKET = ("sock_", "_socket_", "poll ", "epoll", "select_")


def owner(stack: tuple[str, ...]) -> str:
    """Whose the innermost frame is; the standard library works for who called it."""
    for frame in reversed(stack):
        if frame.endswith(_KERNEL):
            return "socket"
        if frame == _CORE:
            return "core"
        for path, who in _OWNED.items():
            if f"({path}" in frame:
                return who
    return "other"


#: The first of a module reads Django's local memory in Django's place.
_OWNED = {
    "viewcache/backends": "client",
    "viewcache/": "ours",
    "django/": "django",
    "redis/": "client",
}


def shares(stacks: Stacks) -> dict[str, float]:
    """The percent of each owner."""
    owned: Counter[str] = Counter()
    for stack, count in stacks.items():
        owned[owner(stack)] += count
    return {who: round(100 * owned[who] / stacks.total(), 1) for who in OWNERS}


def widest(stacks: Stacks, most: int = 8) -> dict[str, float]:
    """The frames that took most themselves, without what they called, in percent."""
    own: Counter[str] = Counter()
    for stack, count in stacks.items():
        name = stack[-1]
        if name == _CORE:
            name = f"{_CORE}, called by {stack[-2]}"
        own[name] += count
    return {name: round(100 * count / stacks.total(), 1) for name, count in own.most_common(most)}


# -- What the documentation says of it ------------------------------------------------------------


_TEXT = """## Where a hit's time goes

Drawn by `python benches/flame.py` with py-spy: 20 KB, six cookies, both middlewares and no others,
the cache closed after each. Who called stands above whom it called; each frame is as wide as its
share of the time. The standard library counts for whoever called it. py-spy stops the program for
each sample, so the wait for a server is a little longer than it looks; where other programs want
the processors, it is longer than it has to be: then read the row without it. Local memory has no
client: what stands there is `viewcache/backends.py`, which reads Django's entries in the place of
Django's own `get_many()`.
"""


def section() -> Iterator[str]:
    """The part of docs/performance.md, from the last run."""
    found = json.loads(SHARES.read_text())
    yield _TEXT
    yield f"| percent of a hit | {' | '.join(name for _, name in OWNERS.values())} |"
    yield f"|{' --- |' * (1 + len(OWNERS))}"
    for backend, parts in found.items():
        yield _row(BACKENDS[backend], parts["shares"])
        if parts["shares"]["socket"]:
            alone = {who: part for who, part in parts["shares"].items() if who != "socket"}
            yield _row("the same, without kernel and server", alone)
    yield ""
    for backend, name in BACKENDS.items():
        yield f"![Flame graph of a hit: {name}](images/hit-{backend}.svg)\n"
        yield "The widest frames, without what they called:\n"
        yield from (f"- `{frame}`: {part:g} %" for frame, part in found[backend]["widest"].items())
        yield ""


def _row(name: str, parts: dict[str, float]) -> str:
    total = sum(parts.values())
    cells = (f"{100 * parts[who] / total:.1f}" if who in parts else "" for who in OWNERS)
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
