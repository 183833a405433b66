#!/usr/bin/env python
"""What tracking costs: a miss whose view runs 20 queries, and a hit, with it and without.

    python benches/track.py

Each round takes the two in turns, so that whatever else the machine does meets both alike; the
ratio is the median of the rounds. A cold miss has no generation in the cache; a warm one renders a
page that has expired, which is what a change makes of pages. One of the queries finds its row by a
unique name, as a view does by a slug.

In memory nothing waits, so the time is the processor's; with ``--cache`` it is the clock's.
`make bench` runs this, too.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from measure import Spread

ROUNDS = 100
#: Rounds before those, in which the statements are parsed and the URLs become known.
WARMING = 10
QUERIES = 20
#: A miss with tracking may take this much of one without.
AIM = 1.05


def configure(cache_url: str | None) -> None:
    backend: dict[str, Any] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    if cache_url:
        backend = {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": cache_url,
        }
    settings.configure(
        SECRET_KEY="not one",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "viewcache"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={"default": backend},
        USE_TZ=True,
        USE_I18N=False,
        VIEWCACHE={"TRACK": True},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", help="redis://host:port, instead of memory of this process")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="rows for benches/run.py")
    asked = parser.parse_args()
    configure(asked.cache)
    clock = time.perf_counter if asked.cache else time.thread_time
    import django

    django.setup()

    from django.contrib.auth.models import Group, User
    from django.core.cache import cache
    from django.core.management import call_command
    from django.http import HttpResponse
    from django.template import Context, Engine
    from django.test import RequestFactory
    from viewcache import bindings, expire, pipeline, queries
    from viewcache.middleware import CacheMiddleware

    call_command("migrate", verbosity=0)
    groups = Group.objects.bulk_create(Group(name=f"group {n}") for n in range(QUERIES))
    User.objects.bulk_create(User(username=f"user{n}") for n in range(60))
    template = Engine().from_string(
        "<ul>{% for user in users %}<li>{{ user.username }} {{ user.pk }}</li>{% endfor %}</ul>"
    )

    def view(request: Any) -> HttpResponse:
        names = [Group.objects.get(pk=group.pk).name for group in groups[1 : QUERIES // 2]]
        names.append(Group.objects.get(name="group 0").name)
        for number in range(QUERIES // 2):
            found = User.objects.filter(pk__gt=number).order_by("username")[:20]
            names.append(template.render(Context({"users": found})))
        return HttpResponse("".join(names))

    cached = CacheMiddleware(view, cache_timeout=600)
    factory = RequestFactory()

    def get(path: str, wanted: str) -> float:
        request = factory.get(path)
        bindings.begin()
        start = clock()
        cached(request)
        took = clock() - start
        bindings.end()
        visit = pipeline.visit_of(request)
        assert visit is not None
        assert visit.status == wanted, (path, visit.status, visit.reason)
        return took

    def cold(name: str) -> float:
        cache.clear()
        return get(f"/{name}/", "stored")

    def warm(name: str) -> float:
        expire(path=f"/{name}/")
        return get(f"/{name}/", "stored")

    def hit(name: str) -> float:
        return statistics.median(get(f"/{name}/", "hit") for _ in range(20))

    cases: dict[str, Callable[[str], float]] = {"cold miss": cold, "warm miss": warm, "hit": hit}
    failed = False
    for case, run in cases.items():
        times: dict[str, list[float]] = {"without": [], "with": []}
        ratios = []
        for number in range(-WARMING, asked.rounds):
            took = {}
            for name in ("without", "with") if number % 2 else ("with", "without"):
                queries.disconnect()
                if name == "with":
                    queries.connect()
                gc.collect()
                gc.disable()
                took[name] = run(name)
                gc.enable()
            if number >= 0:
                for name, seconds in took.items():
                    times[name].append(seconds)
                ratios.append(took["with"] / took["without"])
        ratio, taken = Spread.of(ratios), Spread.of(times["with"])
        if asked.json:
            row = {"case": "tracked", "package": "viewcache", "what": case}
            print(json.dumps({**row, "seconds": asdict(taken), "over_untracked": asdict(ratio)}))
            continue
        before = statistics.median(times["without"])
        print(
            f"{case:10} without {before * 1e6:8.1f} µs   with {taken.median * 1e6:8.1f} µs   "
            f"ratio {ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        )
        failed |= case == "warm miss" and ratio.median > AIM
    if failed:
        sys.exit(f"A miss with {QUERIES} queries is to take at most {AIM} of one without.")


if __name__ == "__main__":
    main()
