"""
Look for old pages: random pages, random writes, and after each commit every page that is served
is compared with the same page made without a cache.

One process serves and writes, another one writes, too, when it is told to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from random import Random
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after these at the latest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", type=int, default=4, help="pages that are served at a time")
    parser.add_argument("--unhook", default="", help="a kind of write that is not seen")
    parser.add_argument("--first", action="store_true", help="stop at the first difference")
    parser.add_argument("--only", default="", help="kinds of writes, with commas between them")
    parser.add_argument("--writes-for-others", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    from shop import project

    project.configure(asked.database, asked.cache)
    if asked.writes_for_others:
        write_for_others()
    else:
        print(json.dumps(Search(asked).run()))


def write_for_others() -> None:
    """The other process: a kind of write and a seed on each line."""
    from shop.writes import WRITES

    for line in sys.stdin:
        kind, seed = line.split()
        failed = attempt(lambda: WRITES[kind](Random(int(seed))))  # noqa: B023
        print(f"done {failed}", flush=True)


def attempt(function: Callable[[], Any]) -> str:
    """Call it; what the database refuses is a write, too. Returns what was refused."""
    from django.db import DatabaseError, connection

    from shop.writes import BackError

    try:
        function()
    except BackError as error:
        return type(error).__name__
    except DatabaseError as error:
        if not connection.in_atomic_block:
            # It may have begun a transaction of its own.
            connection.close()
        return type(error).__name__
    return ""


class Search:
    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.random = Random(asked.seed)
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []
        self.other: Any = None

    def run(self) -> dict[str, Any]:
        from django.core.cache import cache

        from shop import writes

        cache.clear()
        self.make_tables()
        writes.fill(self.random)
        self.other = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:], "--writes-for-others"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + self.asked.seconds
        try:
            while self.counts["steps"] < self.asked.steps and time.monotonic() < until:
                if self.differences and self.asked.first:
                    break
                if self.counts["steps"] % 100 == 0:
                    self.open_pages()
                self.step()
        finally:
            self.other.stdin.close()
            self.other.wait()
        return {
            **dict(sorted(self.counts.items())),
            "differences": len(self.differences),
            "first": self.differences[:5],
        }

    def make_tables(self) -> None:
        from django.db import connection

        from shop.models import MODELS

        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)

    def open_pages(self) -> None:
        """Another set of pages: each a few reads after another, cached in one of the ways."""
        from django.db import transaction
        from django.http import HttpRequest, HttpResponse
        from viewcache.decorators import cache_page
        from viewcache.middleware import CacheMiddleware

        from shop.reads import READS

        self.pages = []
        for number in range(self.asked.pages):
            count = self.random.choice([1, 1, 1, 2, 3])
            plan = [
                (self.random.choice(list(READS)), self.random.randrange(1, 15))
                for _ in range(count)
            ]

            def view(request: HttpRequest, plan: Any = plan) -> HttpResponse:
                return HttpResponse("\n".join(f"{name} {READS[name](n)}" for name, n in plan))

            way = self.random.choice(["site", "view", "both", "atomic", "atomic outside"])
            cached: Any = view
            if way in ("view", "both"):
                cached = cache_page(3600, key_prefix="v" if way == "both" else None)(cached)
            if way == "atomic":
                cached = CacheMiddleware(transaction.atomic(cached))
            elif way == "atomic outside":
                cached = transaction.atomic(cache_page(3600)(cached))
            elif way != "view":
                cached = CacheMiddleware(cached)
            path = f"/{self.counts['steps']}/{number}/"
            self.pages.append((path, f"{way} {plan}", view, cached))

    def step(self) -> None:
        from shop.writes import WRITES

        self.counts["steps"] += 1
        kinds = self.asked.only.split(",") if self.asked.only else list(WRITES)
        kind = self.random.choice(kinds)
        road = self.random.choices(["here", "there", "held"], [5, 3, 2])[0]
        if road == "held" and kind in ("raw_transaction", "manual_transaction", "schema"):
            road = "here"
        self.counts[f"by {road}"] += 1
        if road == "there":
            self.other.stdin.write(f"{kind} {self.random.randrange(10**9)}\n")
            self.other.stdin.flush()
            said = self.other.stdout.readline()
            assert said.startswith("done"), said
            refused = said.removeprefix("done").strip()
        elif road == "here":
            refused = attempt(lambda: self.write(kind))
        else:
            refused = attempt(lambda: self.hold(kind))
        if refused:
            self.counts[f"refused {refused}"] += 1
        self.compare(f"{kind} {road}")

    def write(self, kind: str) -> None:
        from viewcache import queries

        from shop.writes import WRITES

        with queries._quietly() if kind == self.asked.unhook else nullcontext():
            WRITES[kind](self.random)

    def hold(self, kind: str) -> None:
        """Pages are served inside the transaction that wrote, which is then given up or not."""
        from django.db import transaction

        with suppress(GiveUpError), transaction.atomic():
            self.write(kind)
            self.compare(f"{kind} inside")
            if self.random.random() < 0.5:
                raise GiveUpError

    def compare(self, after: str) -> None:
        from django.core.signals import request_finished, request_started
        from django.test import RequestFactory
        from viewcache import pipeline

        inside = after.endswith("inside")
        for path, told, view, cached in self.pages:
            request = RequestFactory().get(path)
            if not inside:
                # Not within a transaction: they close connections.
                request_started.send(sender=None, environ={})
            served = cached(request).content
            if not inside:
                request_finished.send(sender=None)
            visit = pipeline.visit_of(request)
            self.counts[visit.status] += 1
            if visit.status == "bypass":
                self.counts[f"bypass: {visit.reason}"[:70]] += 1
            from viewcache import queries

            with queries.aside():
                wanted = view(RequestFactory().get(path)).content
            self.counts["compared"] += 1
            if served != wanted:
                self.differences.append(f"step {self.counts['steps']} after {after}: {told}")


class GiveUpError(Exception):
    """Roll back."""


if __name__ == "__main__":
    main()
