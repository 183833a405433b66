"""
Draw where the time of a hit goes: docs/images/hit-*.svg, and flame.json, from which `run.py --docs`
writes the shares.

    python benches/flame.py                       all of them
    python benches/flame.py --seconds 5

py-spy stops a program for each sample, so the answer of a server arrives while nobody waits for it:
the wait is a little longer than it looks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flamegraph import Stacks, folded, svg

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "docs" / "images"
#: What the last run found: for each case, the percent of each owner, and of the widest frames.
SHARES = HERE / "flame.json"


class Case(NamedTuple):
    """Something to draw."""

    title: str
    #: The frame that does it: what is below is drawn.
    root: str
    #: What py-spy saw of it in so many seconds.
    watch: Callable[[int], str]


#: Whose the time is: its colour, and its name.
OWNERS = {
    "core": ("#e8743b", "viewcache, compiled"),
    "ours": ("#f5b98e", "viewcache, Python"),
    "django": ("#86bd84", "Django"),
    "client": ("#8fb3d9", "the cache's client"),
    "server": ("#c3a5cf", "the web server"),
    "socket": ("#b9c0c9", "kernel and waiting"),
    "other": ("#dddddd", "the loop around it"),
}


def cases() -> dict[str, Case]:
    """What is drawn, by the names of the pictures."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    import spied

    hit, handle = "hit (spied.py)", "SyncWorker.handle (gunicorn/workers/sync.py)"
    redis = "Redis, through Django's RedisCache"
    return {
        "locmem": Case("local memory", hit, partial(spied.hits, "locmem")),
        "redis": Case(redis, hit, partial(spied.hits, "redis")),
        "django-vcache": Case(
            "Redis, through django-vcache", hit, partial(spied.hits, "django-vcache")
        ),
        "early": Case("early, in gunicorn's workers", handle, spied.workers),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=30, help="for each picture")
    options = parser.parse_args()
    found = {}
    for name, case in cases().items():
        stacks = seen(folded(case.watch(options.seconds)), case.root)
        title = f"A hit of 20 KB, {case.title}: {stacks.total():,} samples"
        (IMAGES / f"hit-{name}.svg").write_text(svg(stacks, title, OWNERS, owner))
        found[name] = {
            "title": case.title,
            "shares": shares(stacks),
            "widest": widest(stacks),
        }
        print(case.title, found[name])
    SHARES.write_text(json.dumps(found, indent=1) + "\n")


# -- What was seen --------------------------------------------------------------------------------


def seen(stacks: Stacks, root: str) -> Stacks:
    """
    The frames from this one on: those of Python, one for the compiled core, one for a system call.

    What else is compiled is the interpreter at the work of the frame that called it.
    """
    kept: Stacks = Counter()
    for stack, count in stacks.items():
        names = list(_named(stack, root))
        if names:
            kept[tuple(names)] += count
    return kept


def _named(stack: tuple[str, ...], root: str) -> Iterator[str]:
    inside = False
    for frame in stack:
        inside = inside or frame == root
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
#: Functions that do nothing but call the kernel: the interpreter's; and what a client that is
#: compiled waits in for its own threads, and wakes them by.
_SOCKET = ("sock_", "_socket_", "poll ", "epoll", "select_", "syscall (libc", "write (libc")


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
    "django_vcache/": "client",
    "redis/": "client",
    "gunicorn/": "server",
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

Drawn by `python benches/flame.py` with py-spy: a page of 20 KB. In local memory and in Redis both
middlewares and no others answer requests with six cookies, and the cache is closed after each;
early hits are seen in gunicorn's workers, behind the default middleware, from the accepted
connection to its end, while `wrk` asks. Who called stands above whom it called; each frame is as
wide as its share of the time. The standard library counts for whoever called it. py-spy stops the
program for each sample, so the wait for a server is a little longer than it looks; where other
programs want the processors, it is longer than it has to be: then read the row without it. Local
memory has no client: what stands there is `viewcache/backends.py`, which reads Django's entries in
the place of Django's own `get_many()`. django-vcache has threads of its own, and what is seen is
the one that waits for them.
"""


def section() -> Iterator[str]:
    """The part of docs/performance.md, from the last run."""
    found = json.loads(SHARES.read_text())
    yield _TEXT
    yield f"| percent of a hit | {' | '.join(name for _, name in OWNERS.values())} |"
    yield f"|{' --- |' * (1 + len(OWNERS))}"
    for parts in found.values():
        yield _row(parts["title"], parts["shares"])
        if parts["shares"]["socket"]:
            alone = {who: part for who, part in parts["shares"].items() if who != "socket"}
            yield _row("the same, without kernel and waiting", alone)
    yield ""
    for name, parts in found.items():
        yield f"![Flame graph of a hit: {parts['title']}](images/hit-{name}.svg)\n"
        yield "The widest frames, without what they called:\n"
        yield from (f"- `{frame}`: {part:g} %" for frame, part in parts["widest"].items())
        yield ""


def _row(name: str, parts: dict[str, float]) -> str:
    total = sum(parts.values())
    cells = (f"{100 * parts[who] / total:.1f}" if who in parts else "" for who in OWNERS)
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
