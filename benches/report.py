"""The figures as text: a line for the terminal, a page for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import flame
import targets

Row = dict[str, Any]


def line(row: Row) -> str:
    """A row for the terminal."""
    what = [row["case"], row["package"], *targets.details(row)]
    if "rate" in row:
        return f"{' · '.join(what):<72} {row['rate']['median']:>9,.0f}  {_spread(row['over_bare'])}"
    text = f"{' · '.join(what):<72} {_time(row['seconds']['median']):>9}"
    if "ratio" in row:
        text += f"  {_spread(row['ratio'])}"
    if "over_untracked" in row:
        text += f"  {_spread(row['over_untracked'])}"
    if "commands" in row:
        text += f"  {_commands(row)}"
    return text


def page(result: dict[str, Any]) -> str:
    """docs/performance.md."""
    rows = result["rows"]
    sections = [_HEAD, *_machine(result), *_keys(rows)]
    for case, text in _PAGES.items():
        sections += _pages(rows, case, text)
    sections += [
        *_expiry(rows),
        *_tracked(rows),
        *_import(rows),
        *_throughput(rows),
        *_losses(rows),
        *_targets(rows),
        *flame.section(),
        _WAY,
    ]
    return "\n".join(sections).rstrip() + "\n"


_HEAD = """# Performance

Written by `python benches/run.py --docs`; what is measured is in `benches/`. All contenders run in
turn in one process, so read the ratios: the time of the one over the time of stock Django in the
same round, as the median of all rounds with the quartiles in brackets. Below 1 is faster. The
times are microseconds for each call, on this machine: of the processor where nothing is waited for
(the key functions, local memory), else of the clock. Where more processes wanted the cores than
there are, the ratios of the clock say little.
"""

_PAGES = {
    "hit": (
        "A hit",
        "Both middlewares around a view, a fresh WSGI request with six cookies and a usual "
        "browser's headers, a page that says `Vary: Accept-Language, Cookie`, and the cache closed "
        "after it, as Django does at the end of each request.",
    ),
    "miss and store": (
        "A miss and the store of the page",
        "The same, for a variant that is not there of a URL that is known: the look-up, the view "
        "(which costs next to nothing here), and the store.",
    ),
}


def _machine(result: dict[str, Any]) -> Iterator[str]:
    yield "## Where\n"
    yield from (f"- {name}: {value}" for name, value in result["machine"].items())
    if result["quick"]:
        yield "\nA quick run: fewer rounds, one page size."
    yield ""


def _keys(rows: list[Row]) -> Iterator[str]:
    rows = [row for row in rows if row["case"].endswith("_cache_key") and targets.is_ours(row)]
    if rows:
        yield "## Key functions\n"
        yield "`viewcache.get_cache_key` and `learn_cache_key` over Django's, on a fresh request"
        yield "and a cache that costs nothing.\n"
        yield from _table(
            ["function", "request", "time", "over Django's", "faster"],
            (
                [
                    f"`{row['case']}`",
                    row["what"],
                    _time(row["seconds"]["median"]),
                    _spread(row["ratio"]),
                    f"{1 / row['ratio']['median']:.1f}",
                ]
                for row in rows
            ),
        )


def _pages(rows: list[Row], case: str, text: tuple[str, str]) -> Iterator[str]:
    rows = [row for row in rows if row["case"] == case]
    if rows:
        yield f"## {text[0]}\n\n{text[1]}\n"
        yield "\"Over Django's backend\" compares with stock Django on Django's own backend for the"
        yield 'server, "same backend" with stock Django on the backend of the row.\n'
        yield from _table(
            ["backend", "page", "package", "time", "over Django's backend", "same backend", "sent"],
            (
                [
                    row["backend"],
                    f"{row['size']} KB",
                    row["package"],
                    _time(row["seconds"]["median"]),
                    _spread(row["ratio"]),
                    _spread(row["over_same_backend"]) if "over_same_backend" in row else "",
                    _commands(row),
                ]
                for row in rows
            ),
        )


def _expiry(rows: list[Row]) -> Iterator[str]:
    rows = [row for row in rows if row["case"] == "expiry"]
    if rows:
        yield "## Expiry of one URL\n"
        yield "By how many variants of it are cached, over the same with one. Stock Django has no"
        yield "way to do it.\n"
        yield from _table(
            ["backend", "variants", "time", "over one variant", "sent"],
            (
                [
                    row["backend"],
                    f"{row['variants']:,}",
                    _time(row["seconds"]["median"]),
                    _spread(row["ratio"]),
                    _commands(row),
                ]
                for row in rows
            ),
        )


def _tracked(rows: list[Row]) -> Iterator[str]:
    rows = [row for row in rows if row["case"] == "tracked"]
    if rows:
        yield "## Tracking\n"
        yield "With `TRACK` over without it, for a page of 20 queries on SQLite, one of which finds"
        yield "its row by a unique name; local memory, time of the processor. A warm miss renders a"
        yield "page that has expired, a cold one finds no generation in the cache at all. A hit has"
        yield "a generation to check for each table and row: in local memory that shows, a server"
        yield "is asked once.\n"
        yield from _table(
            ["what", "time", "over the same without"],
            (
                [row["what"], _time(row["seconds"]["median"]), _spread(row["over_untracked"])]
                for row in rows
            ),
        )


def _import(rows: list[Row]) -> Iterator[str]:
    rows = [row for row in rows if row["case"] == "import"]
    if rows:
        yield "## Import\n"
        yield "After Django and what every site of it has loaded, with the bytecode of an installed"
        yield "package; the processor's time.\n"
        yield from _table(
            ["module", "time"],
            ([f"`{row['what']}`", _milliseconds(row["seconds"])] for row in rows),
        )


#: What the profiles say of the targets that are missed.
_WAY = """## What stands in the way

- **Keys**: a fifth of what is left is the two digests, the rest the look-ups in Django's objects
  that show that nothing was replaced, and the call of the cache.
- **A hit in local memory** reads the recipe, the page and a generation for each level of the path,
  where stock Django reads two entries; and the request is watched, to know which cookies a page
  reads. By the flame graph two fifths are the compiled core (the request and its keys, the entries,
  the record and its response), a tenth the reading of the cache, the rest the Python between them.
- **A hit in Redis** is other people's: of what the kernel and the server leave, most is redis-py's
  and Django's backend's; viewcache's share of all is under a quarter. Django's backend makes a
  client object for each operation, so viewcache keeps one for each thread.
- **A page of 200 KB** is copied once from what the cache's client hands over, and its checksum is
  read, which stock Django does not do: 9 µs of the processor, in local memory once. What the
  client handed over is let go when it is copied: two large pages in memory for each request were
  most of the difference once.
- **A hit through django-vcache** is its client's and the kernel's for two thirds, by the flame
  graph half of it a wait for the client's threads: reading the eight keys takes 45 µs in a loop,
  and 75 to 120 where 40 µs of Python lie between two hits, because those threads and the server
  have gone to sleep. Of the time of both cores a hit of granian's takes 160 µs more than one in
  local memory, and an early hit 120: the client, Redis, the kernel, and threads that wait for each
  other. That is why half of the bare view's rate is not reached.
- **A hit through django-redis** names and decodes each of its eight keys in Python, where stock
  Django asks for two.
- **Requests per second**: server, kernel and `wrk` share two cores with the site, so what a hit
  costs is diluted on gunicorn. On granian a bare view takes 165 µs of both cores, and a hit in
  local memory 20 more: it goes through the same request, URL and response, is watched, and reads
  the cache besides.
- **Early hits** leave out the request, the URL, the middleware and, where only Django listens, the
  two signals of a request; they judge the request, and check the page and its generations in the
  cache, where a bare view does nothing. On gunicorn the server takes most of the time: what is
  asked there is nearly all that it gives without Django (`no Django` in the table). The flame graph
  of its workers shows what stands in the way: the kernel, gunicorn itself, and `close_graceful()`,
  in which a worker waits until the client has closed the connection that it has answered;
  viewcache's own part is the small one. After that wait the same code takes two to three times
  what it takes in a loop, since the processor has slept or done something else. And gunicorn takes
  2 to 3 µs for each header, of which a page behind the default middleware has nine and the bare
  view two.
- **A miss and store** asks the installed Django whether the page may be stored, after it has been
  watched for what it reads; and it writes three entries where stock Django writes two: the page,
  the turn to render it, and, when a process first stores a page, its place in the inventory.
- **Import**: some thirty modules, none of which takes a tenth of it. What settings switch on
  (`TRACK`, `AUDIT`) is loaded when it is.
"""


def _throughput(rows: list[Row]) -> Iterator[str]:
    rows = [row for row in rows if row["case"] == "requests/s"]
    if rows:
        yield "## Requests per second\n"
        yield "One cached page of 20 KB, two workers, asked by `wrk` on the same machine; a server"
        yield "is started for each figure and the sites take turns, those of which something is"
        yield "wanted below three times as often as the others. `bare` is a view that returns the"
        yield "page, without middleware and without a cache; `no Django` is a function that only"
        yield 'sends it, so as fast as the server gets here. "Over stock" is over stock Django with'
        yield "the default middleware and Django's `RedisCache`.\n"
        yield from _table(
            ["server", "site", "backend", "requests/s", "over the bare view", "over stock"],
            (
                [
                    row["server"],
                    row["package"],
                    row["backend"],
                    f"{row['rate']['median']:,.0f}",
                    _spread(row["over_bare"]),
                    _spread(row["over_stock"]) if "over_stock" in row else "",
                ]
                for row in rows
            ),
        )


def _losses(rows: list[Row]) -> Iterator[str]:
    yield "## Where viewcache loses\n"
    losses = [row for row in rows if targets.is_ours(row) and _loses(row)]
    for row in losses:
        what = ", ".join(str(row[key]) for key in ("backend", "size", "what") if key in row)
        ratio = row.get("over_same_backend", row["ratio"])
        yield f"- {row['case']}, {what}: {_spread(ratio)}"
    if not losses:
        yield "Nowhere in this run."
    yield ""


def verdicts(rows: list[Row]) -> Iterator[str]:
    """What this project wants to reach, and whether this run did: a line for each figure."""
    for found in targets.verdicts(rows):
        verdict = "reached" if found.is_reached else "MISSED "
        yield f"{verdict}  {found.figure:>9.3f} {found.sign} {found.target:<9.3f} {found.what}"


def _targets(rows: list[Row]) -> Iterator[str]:
    yield "## What this project wants to reach\n"
    yield from _table(
        ["what", "measured", "wanted", ""],
        (
            [
                found.what,
                f"{found.figure:.3g}",
                f"{found.sign} {found.target:.3g}",
                _verdict(found),
            ]
            for found in targets.verdicts(rows)
        ),
    )


def _verdict(found: targets.Verdict) -> str:
    if found.is_reached:
        return ""
    return "**missed**" if found.is_in_reach else f"**missed**; without Django {found.ceiling:.3g}"


def _loses(row: Row) -> bool:
    """Slower than stock Django on the same backend, beyond the spread."""
    ratio = row.get("over_same_backend", row.get("ratio"))
    return row["case"] != "expiry" and ratio is not None and ratio["low"] > 1


def _table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} µs"


def _milliseconds(seconds: dict[str, float]) -> str:
    low, high = (f"{seconds[end] * 1e3:.1f}" for end in ("low", "high"))
    return f"{seconds['median'] * 1e3:.1f} ms ({low} to {high})"


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _commands(row: Row) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in row.get("commands", {}).items())
