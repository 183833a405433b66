"""What is measured. Each case gives rows: plain dictionaries that go into the JSON file."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import project
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.utils import cache as django_cache
from measure import Contender, Spread, interleaved, ratios
from servers import Server

Row = dict[str, Any]
Chain = Callable[[project.Handler], project.Handler]


class Bare:
    """A cache that costs nothing: what is timed is the making of the keys."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def set(self, key: str, value: Any, timeout: float | None) -> None:
        self.entries[key] = value


def keys(rounds: int) -> Iterator[Row]:
    """The key functions on a fresh request: Django's and ours."""
    import viewcache

    cases = {
        "no cookies": partial(project.request, cookies=0),
        "6 cookies": project.request,
        "20 cookies": partial(project.request, cookies=20),
        "6 cookies, long query": partial(project.request, QUERY_STRING=project.LONG_QUERY),
        "6 cookies, non-ASCII path": partial(project.request, "/блог/prix-été/1/"),
    }
    response = HttpResponse(headers={"Vary": "Accept-Language, Cookie"})
    for what, prepare in cases.items():
        for name in ("get_cache_key", "learn_cache_key"):
            contenders = {}
            for package, functions in {"django": django_cache, "viewcache": viewcache}.items():
                cache = Bare()
                functions.learn_cache_key(prepare(), response, cache=cache)
                if name == "get_cache_key":
                    call = partial(functions.get_cache_key, cache=cache)
                else:
                    call = partial(_learn, functions.learn_cache_key, response, cache)
                contenders[package] = Contender(prepare, call, is_alone=True)
            times = interleaved(contenders, rounds)
            for package, seconds in times.items():
                yield _row(package, seconds, times["django"], case=name, what=what)


def _learn(learn: Any, response: HttpResponse, cache: Bare, request: HttpRequest) -> str:
    return learn(request, response, cache=cache)


def pages(
    servers: dict[str, Server | None], rounds: int, sizes: list[int], case: str
) -> Iterator[Row]:
    """A hit, or a miss of a known path and the store of its page, through the middleware."""
    for group, server in servers.items():
        for size in sizes:
            contenders = {
                (package, backend): _contender(chain, alias, size, case)
                for backend in project.BACKENDS[group]
                if backend in caches.settings
                for package in project.PACKAGES
                # Django's own backend is where all of them are compared.
                if package in ("django", "viewcache") or backend == group
                for alias in [project.alias(backend, package)]
                for chain in [project.chains(alias).get(package)]
                if chain is not None and _works(alias, chain)
            }
            times = interleaved({"@".join(name): c for name, c in contenders.items()}, rounds)
            for package, backend in contenders:
                seconds = times[f"{package}@{backend}"]
                same = times.get(f"django@{backend}")
                row = _row(package, seconds, times[f"django@{group}"], case=case, size=size)
                row |= {"group": group, "backend": backend}
                if same is not None:
                    row["over_same_backend"] = asdict(ratios(seconds, same))
                if server is not None:
                    row["commands"] = _commands(contenders[package, backend], server)
                yield row
            _empty(group)


_STEP = 10_000_000
_first = itertools.count(1)


def _contender(chain: Chain, alias: str, size: int, case: str) -> Contender:
    within = partial(_default_cache, alias)
    with within():
        # A variant for each request is a miss of a path that is known.
        vary = "Accept-Language, Cookie" if case == "hit" else "Accept-Language, Cookie, X-Variant"
        handler = chain(project.View(size, vary))
        close = caches[alias].close

    def call(request: HttpRequest) -> HttpResponse:
        response = handler(request)
        close()  # as Django does at the end of each request
        return response

    # Packages that keep Django's keys would find each other's.
    numbers = itertools.count(_STEP * next(_first))
    path = f"/blog/{size}/posts/1/"

    def prepare() -> HttpRequest:
        more = {} if case == "hit" else {"HTTP_X_VARIANT": str(next(numbers))}
        return project.request(path, **more)

    return Contender(prepare, call, within, is_alone=alias.startswith("locmem"))


@contextmanager
def _default_cache(alias: str) -> Iterator[None]:
    with override_settings(CACHE_MIDDLEWARE_ALIAS=alias, WAGTAIL_CACHE_BACKEND=alias):
        yield


def _works(alias: str, chain: Chain) -> bool:
    """Does it keep pages in this cache at all? (Some serializers take no response.)"""
    view = project.View(1)
    why = "it serves no page from it"
    with _default_cache(alias):
        caches[alias].clear()
        try:
            handler = chain(view)
            handler(project.request("/works/"))
            handler(project.request("/works/"))
            if view.calls == 1:
                return True
        except Exception as fault:
            why = f"{type(fault).__name__}: {fault}"[:100]
    print(f"left out: {alias}: {why}")
    return False


def _commands(contender: Contender, server: Server, calls: int = 5) -> dict[str, float]:
    """Commands for each call, as the server counts them."""
    with contender.within():
        for _ in range(2):
            contender.call(contender.prepare())
        with _counting(server) as sent:
            for _ in range(calls):
                contender.call(contender.prepare())
    return {name: count / calls for name, count in sorted(sent.items()) if count}


@contextmanager
def _counting(server: Server) -> Iterator[Counter[str]]:
    if server.kind != "memcached":
        with server.counting() as sent:
            yield sent
        return
    # Its counters count keys; its log has a line for each command.
    sent = Counter()
    server.ask("verbosity 2")
    before = server.log.stat().st_size
    yield sent
    server.ask("verbosity 0")
    for line in server.log.read_bytes()[before:].decode(errors="replace").splitlines():
        mark, _, command = line.partition(" ")
        verb = command.split(" ")[0]
        if mark.startswith("<") and mark[1:].isdigit() and verb in _MEMCACHED:
            sent[verb] += 1


_MEMCACHED = frozenset({"get", "gets", "set", "add", "cas", "delete", "touch"})


def expiry(servers: dict[str, Server | None], rounds: int, counts: list[int]) -> Iterator[Row]:
    """The expiry of one URL, by how many variants of it are cached."""
    import viewcache

    for group, server in servers.items():
        for count in counts:
            with _default_cache(group):
                caches[group].clear()
                handler = project.chains(group)["viewcache"](project.View(0.1, "X-Variant"))
                for path, variants in (("/one/", 1), ("/many/", count)):
                    for number in range(variants):
                        handler(project.request(path, HTTP_X_VARIANT=str(number)))
                contenders = {
                    path: Contender(
                        lambda path=path: path, lambda path: viewcache.expire(path=path)
                    )
                    for path in ("/one/", "/many/")
                }
                times = interleaved(contenders, rounds)
                row = _row("viewcache", times["/many/"], times["/one/"], case="expiry")
                row |= {"group": group, "backend": group, "variants": count}
                if server is not None:
                    row["commands"] = _commands(contenders["/many/"], server)
                yield row
        _empty(group)


def tracked(rounds: int) -> Iterator[Row]:
    """A page of 20 queries with TRACK and without, in a process with settings of its own."""
    command = [sys.executable, str(Path(__file__).with_name("track.py")), "--json"]
    done = subprocess.run(
        [*command, "--rounds", str(2 * rounds)], capture_output=True, text=True, check=True
    )
    yield from map(json.loads, done.stdout.splitlines())


def start(rounds: int) -> Iterator[Row]:
    """
    How long the imports take, in processes that have loaded what every Django site has, and find
    the bytecode of an installed package.
    """
    program = (
        f"import sys, time; sys.path[:0] = {sys.path!r}\n"
        "import project; project.set_up({'locmem': ''})\n"
        "import django.middleware.cache, django.middleware.csrf\n"
        "began = time.process_time()\n"
        "import {module}\n"
        "print(time.process_time() - began)"
    )
    with TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for module in ("viewcache", "viewcache.middleware"):
            command = [sys.executable, "-c", program.replace("{module}", module)]
            seconds = [
                float(subprocess.check_output(command, text=True, env=environment))
                # The first one writes the bytecode.
                for _ in range(max(5, rounds // 3) + 1)
            ][1:]
            yield {
                "case": "import",
                "what": module,
                "package": "viewcache",
                "seconds": asdict(Spread.of(seconds)),
            }


def _empty(group: str) -> None:
    for backend in project.BACKENDS[group]:
        if backend in caches.settings:
            caches[backend].clear()


def _row(package: str, seconds: list[float], base: list[float], **what: Any) -> Row:
    return {
        **what,
        "package": package,
        "seconds": asdict(Spread.of(seconds)),
        "ratio": asdict(ratios(seconds, base)),
    }
