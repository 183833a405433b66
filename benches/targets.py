"""What this project wants to reach, and whether a run did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Row = dict[str, Any]

#: The most that a case may take of stock Django's time on the same backend: case, group. Hits are
#: held against it with a page of this many kilobytes.
HIT_SIZE = 20
TIMES = {
    ("hit", "locmem"): 0.60,
    ("hit", "redis"): 0.60,
    ("hit", "memcached"): 0.80,
    ("miss and store", None): 1.2,
}
KEYS = 0.2
#: Milliseconds.
IMPORT = 20
#: A hit through django-vcache over stock Django's through its own RedisCache.
VCACHE = 0.30
#: How much more a page of 200 KB may take, as a ratio, than one of 20.
SIZE = 0.1
#: Of as many variants as there are, over one.
EXPIRY = 1.1
COMMANDS = {"hit": 1, "miss and store": 4, "expiry": 1}
#: A miss whose view runs 20 queries, over the same without TRACK.
TRACKED = 1.05
#: The least requests per second over those of a bare view: server, site, backend.
RATES = {
    ("gunicorn", "viewcache", "locmem"): 0.90,
    ("granian", "viewcache", "locmem"): 0.80,
    ("uvicorn", "viewcache", "locmem"): 0.80,
    ("gunicorn", "viewcache", "django-vcache"): 0.50,
    ("granian", "viewcache", "django-vcache"): 0.50,
    ("uvicorn", "viewcache", "django-vcache"): 0.50,
    ("gunicorn", "viewcache, early hits", "locmem"): 1.3,
    ("granian", "viewcache, early hits", "locmem"): 1.5,
}
#: The least over stock Django with the default middleware: of early hits, on granian.
EARLY_OVER_STOCK = 4
_EARLY = "granian", "viewcache, early hits", "django-vcache"
_STOCK = "granian", "django, default middleware", "redis"


class Verdict(NamedTuple):
    """One figure, and the target that it is held against."""

    what: str
    figure: float
    target: float
    #: The figure is to be at most the target; else at least.
    at_most: bool = True
    #: What an application that does nothing reaches, where that was measured.
    ceiling: float | None = None

    @property
    def is_reached(self) -> bool:
        return self.figure <= self.target if self.at_most else self.figure >= self.target

    @property
    def is_in_reach(self) -> bool:
        """Could it be reached on this machine by a site that does nothing?"""
        return self.ceiling is None or self.target <= self.ceiling

    @property
    def sign(self) -> str:
        return "<=" if self.at_most else ">="


def verdicts(rows: list[Row]) -> Iterator[Verdict]:
    """All of a run's figures for which there is a target."""
    hits = {
        (row["backend"], row["size"]): row["ratio"]["median"]
        for row in rows
        if row["case"] == "hit" and is_ours(row)
    }
    alone = {row["server"]: row for row in rows if row["package"] == "no Django"}
    for row in rows:
        if row["case"] == "requests/s":
            yield from _rates(row, alone.get(row["server"]))
        if row["package"] != "viewcache":
            continue
        what = _subject(row)
        if row["case"].endswith("_cache_key"):
            yield Verdict(f"{what}: over Django's", row["ratio"]["median"], KEYS)
        elif row["case"] == "import":
            yield Verdict(f"{what}: ms", row["seconds"]["median"] * 1e3, IMPORT)
        elif row["case"] == "expiry":
            yield Verdict(f"{what}: over one variant", row["ratio"]["median"], EXPIRY)
        elif row["case"] == "tracked" and row["what"] != "hit":
            yield Verdict(f"{what}: over untracked", row["over_untracked"]["median"], TRACKED)
        elif (limit := limit_of(row)) is not None and "over_same_backend" in row:
            yield Verdict(f"{what}: over stock Django", row["over_same_backend"]["median"], limit)
        is_usual = row["case"] == "hit" and row["size"] == HIT_SIZE
        if is_usual and row["backend"] == "django-vcache":
            yield Verdict(f"{what}: over stock on RedisCache", row["ratio"]["median"], VCACHE)
        if row["case"] == "hit" and row["size"] == 200 and (row["backend"], 20) in hits:
            most = hits[row["backend"], 20] + SIZE
            yield Verdict(f"{what}: over that of 20 KB, +0.1", row["ratio"]["median"], most)
        if row["case"] in COMMANDS and "commands" in row:
            sent = sum(row["commands"].values())
            yield Verdict(f"{what}: commands", sent, COMMANDS[row["case"]])


def sites(server: str) -> set[tuple[str, str]]:
    """The sites of this server that a target asks for or compares with, and their backends."""
    bare = server, "bare", "locmem"
    return {site[1:] for site in (*RATES, bare, _EARLY, _STOCK) if site[0] == server}


def _rates(row: Row, alone: Row | None) -> Iterator[Verdict]:
    site = row["server"], row["package"], row["backend"]

    def at_least(least: float, what: str, over: str) -> Verdict:
        ceiling = None if alone is None else alone[over]["median"]
        figure = row[over]["median"]
        return Verdict(f"{_subject(row)}: over {what}", figure, least, False, ceiling)

    if (least := RATES.get(site)) is not None:
        yield at_least(least, "a bare view", "over_bare")
    if site == _EARLY and "over_stock" in row:
        yield at_least(EARLY_OVER_STOCK, "stock Django", "over_stock")


def limit_of(row: Row) -> float | None:
    """The most that this case may take of stock Django's time."""
    if row["case"] == "hit" and row["size"] != HIT_SIZE:
        return None
    return TIMES.get((row["case"], row.get("group")), TIMES.get((row["case"], None)))


def is_ours(row: Row) -> bool:
    """Is it viewcache's, and compared with stock Django?"""
    return row["package"] == "viewcache" and "ratio" in row


def _subject(row: Row) -> str:
    site = [row["package"]] if row["case"] == "requests/s" else []
    return ", ".join([row["case"], *site, *details(row)])


def details(row: Row) -> list[str]:
    """What tells this row from others of its case and package, with its unit."""
    units = {"server": "", "backend": "", "size": " KB", "what": "", "variants": " variants"}
    return [f"{row[key]}{unit}" for key, unit in units.items() if key in row]
