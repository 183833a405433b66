"""
Look for old pages: random pages, random writes, and after each commit every page that is served
is compared with the same page made without a cache.

Two processes serve and write, in turns and at once. The models are those of the shop, or are drawn
from a seed (``--world 17``). The same arguments give the same models, pages and writes again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from random import Random
from typing import Any

from shop import project
from shop.pages import Pages
from shop.world import World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--world", default="shop", help="the shop, or a seed to draw models from")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", type=int, default=4, help="pages that are served at a time")
    parser.add_argument("--unhook", default="", help="a kind of write that is not seen")
    parser.add_argument("--forget", default="", help="scopes of this kind are never expired")
    parser.add_argument("--first", action="store_true", help="stop at the first difference")
    parser.add_argument("--only", default="", help="kinds of writes, with commas between them")
    parser.add_argument("--other", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    world = World(asked)
    if asked.forget:
        forget(asked.forget)
    if asked.other:
        obey(asked, world)
    else:
        print(json.dumps(Search(asked, world).run()))


def forget(kind: str) -> None:
    """As if no write had ever been to what scopes of this kind stand for."""
    from viewcache import expiry

    on_commit = expiry.on_commit

    def without(scopes: list[str], *words: Any) -> None:
        if rest := [scope for scope in scopes if not scope.startswith(f"{kind}:")]:
            on_commit(rest, *words)

    expiry.on_commit = without  # type: ignore[assignment]


def obey(asked: argparse.Namespace, world: World) -> None:
    """The other process: an order on each line, an answer on each."""
    pages = Pages(asked, world)
    for line in sys.stdin:
        order, *words = line.split()
        refused = ""
        if order == "write":
            refused = attempt(lambda: world.writes[words[0]](Random(int(words[1]))))  # noqa: B023
        elif order == "open":
            pages.open(int(words[0]))
        else:
            pages.compare(" ".join(words))
        print(json.dumps({"refused": refused, "found": pages.found()}), flush=True)


def attempt(function: Callable[[], Any]) -> str:
    """Call it; what the database refuses is a write, too. Returns what was refused."""
    from django.db import DatabaseError, connection

    try:
        function()
    except project.BackError as error:
        return type(error).__name__
    except DatabaseError as error:
        if not connection.in_atomic_block:
            # It may have begun a transaction of its own.
            connection.close()
        return type(error).__name__
    return ""


class Search:
    def __init__(self, asked: argparse.Namespace, world: World) -> None:
        self.asked = asked
        self.world = world
        self.random = Random(asked.seed)
        self.pages = Pages(asked, world)
        self.counts = self.pages.counts
        self.other: Any = None
        #: What the other process has found so far.
        self.found: dict[str, Any] = {"counts": {}, "differences": []}

    def run(self) -> dict[str, Any]:
        from django.core.cache import cache

        cache.clear()
        self.world.make_tables()
        self.world.fill(self.random)
        command = [sys.executable, *sys.orig_argv[1:], "--other"]
        pipe = subprocess.PIPE
        self.other = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        try:
            while self.counts["steps"] < self.asked.steps:
                if self.differences and self.asked.first:
                    break
                if self.counts["steps"] % 100 == 0:
                    self.tell(f"open {self.counts['steps']}")
                    self.pages.open(self.counts["steps"])
                    self.answer()
                self.step()
        finally:
            self.other.stdin.close()
            self.other.wait()
        theirs = self.found["counts"]
        return {
            **{name: count + theirs.get(name, 0) for name, count in sorted(self.counts.items())},
            "differences": len(self.differences),
            "first": self.differences[:5],
        }

    @property
    def differences(self) -> list[str]:
        return [*self.pages.differences, *self.found["differences"]]

    def tell(self, order: str) -> None:
        self.other.stdin.write(f"{order}\n")
        self.other.stdin.flush()

    def answer(self) -> str:
        """Wait for the other process to have obeyed; what the database refused."""
        said = json.loads(self.other.stdout.readline())
        self.found = said["found"]
        refused: str = said["refused"]
        return refused

    def step(self) -> None:
        self.counts["steps"] += 1
        kinds = self.asked.only.split(",") if self.asked.only else list(self.world.writes)
        kind = self.random.choice(kinds)
        road = self.random.choices(["here", "there", "held", "both"], [5, 2, 2, 1])[0]
        if road == "held" and kind in ("raw_transaction", "manual_transaction", "schema"):
            road = "here"
        self.counts[f"by {road}"] += 1
        seed = self.random.randrange(10**9)
        if road in ("there", "both"):
            self.tell(f"write {kind} {seed}")
        if road == "both":
            self.meanwhile(kinds)
        if road in ("there", "both"):
            refused = self.answer()
        elif road == "here":
            refused = attempt(lambda: self.write(kind))
        else:
            refused = attempt(lambda: self.hold(kind))
        if refused:
            self.counts[f"refused {refused}"] += 1
        after = f"step {self.counts['steps']} after {kind} {road}"
        self.pages.compare(after)
        if self.random.random() < 0.3:
            self.tell(f"compare {after}")
            self.answer()

    def write(self, kind: str) -> None:
        from viewcache import databases

        with databases.quietly() if kind == self.asked.unhook else nullcontext():
            self.world.writes[kind](self.random)

    def meanwhile(self, kinds: list[str]) -> None:
        """While the other process writes, serve pages or write, too."""
        if self.random.random() < 0.3:
            kind = self.random.choice(kinds)
            attempt(lambda: self.write(kind))
        else:
            attempt(self.pages.serve)

    def hold(self, kind: str) -> None:
        """Pages are served inside the transaction that wrote, which is then given up or not."""
        from django.db import transaction

        with suppress(GiveUpError), transaction.atomic():
            self.write(kind)
            self.pages.compare(f"step {self.counts['steps']} after {kind} inside")
            if self.random.random() < 0.5:
                raise GiveUpError


class GiveUpError(Exception):
    """Roll back."""


if __name__ == "__main__":
    main()
