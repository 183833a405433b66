"""Writes, reads, evicts, restarts, and holds every answer against what was acknowledged."""

from __future__ import annotations

import http.client
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from servers import HOST, Server, restarted, running

from soak.site import BLOG, environment, evict, memory, number_of_keys, serving

READERS = 4
WRITERS = 2
VISITORS = ["ann", "bob", "eve"]
VERSION = re.compile(r"post (\d+) version (\d+)")
GREETING = re.compile(r"(?:Hello,|Bonjour) (\w+)")
#: Bytes by which the workers of a server may grow after the first quarter of the time.
GROWTH = 48 * 1024 * 1024


@dataclass
class Soak:
    """What happens, and what came of it."""

    cache: Server
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    #: The version of each post that the last acknowledged expiry was for.
    floor: dict[int, int] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)
    #: The most keys that there were between two restarts of the cache, the last of them last.
    keys: list[int] = field(default_factory=lambda: [0])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _ports: dict[str, int] = field(default_factory=dict)
    _urls: list[str] = field(default_factory=list)
    _sessions: dict[str, str] = field(default_factory=dict)

    def run(self, seconds: float, *, is_broken: bool) -> None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="viewcache-soak-")))
            variables = environment(self.cache, folder)
            os.environ.update(variables)
            sys.path.insert(0, str(BLOG))
            self._fill()
            if is_broken:
                _expire_nothing()
            workers = {}
            for name in ("gunicorn", "uvicorn"):
                port, workers[name] = stack.enter_context(serving(name, folder, variables))
                self._ports[name] = port
            threads = [
                *(
                    threading.Thread(target=self._guard, args=(self._write, n))
                    for n in range(WRITERS)
                ),
                *(
                    threading.Thread(target=self._guard, args=(self._read, n))
                    for n in range(READERS)
                ),
            ]
            for thread in threads:
                thread.start()
            try:
                self._watch(seconds, workers, is_broken=is_broken)
            finally:
                self._over.set()
                for thread in threads:
                    thread.join()

    def _watch(self, seconds: float, workers: dict[str, list[int]], *, is_broken: bool) -> None:
        """Evict, restart and measure, until the time is over or something is wrong."""
        begun = time.monotonic()
        next_restart = every = max(10.0, seconds / 12)
        while (passed := time.monotonic() - begun) < seconds and not self.violations:
            for name, pids in workers.items():
                self.memory.setdefault(name, []).append(memory(pids))
            self.keys[-1] = max(self.keys[-1], number_of_keys(self.cache))
            if not is_broken:
                self.counts["evictions"] += evict(self.cache, 3)
                if passed > next_restart:
                    next_restart += every
                    restarted(self.cache)
                    self.counts["restarts of the cache"] += 1
                    self.keys.append(0)
            self._over.wait(1)

    def _guard(self, work: Callable[[random.Random, int], None], number: int) -> None:
        dice = random.Random(f"{self.seed} {number}")
        try:
            while not self._over.is_set():
                work(dice, number)
        except Exception as error:
            self.violations.append(f"{type(error).__name__}: {error}")

    # -- The site ---------------------------------------------------------------------------------

    def _fill(self) -> None:
        """The blog's data, visitors with sessions, and the URLs that are asked for."""
        import django

        django.setup()
        import logging

        from blog.models import Author, Post, Tag
        from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.db import SessionStore
        from django.core.management import call_command
        from django.utils.translation import override

        logging.disable()
        call_command("migrate", verbosity=0)
        call_command("seed", verbosity=0)
        for name in VISITORS:
            user = User.objects.create_user(name)
            session = SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.save()
            self._sessions[name] = str(session.session_key)
        posts = list(Post.objects.published()[:6])
        for post in posts:
            self._save(post.pk, 1)
        with override("en"):
            pages = [
                found.get_absolute_url()
                for found in (*posts, *Tag.objects.all(), *Author.objects.all())
            ]
        pages += ["/en/", "/en/posts/", "/en/posts/?page=2", "/en/feeds/rss/"]
        self._urls = [*pages, *(page.replace("/en/", "/fr/", 1) for page in pages)]

    def _save(self, pk: int, version: int) -> None:
        """Change a post, and see to it that the expiry is acknowledged."""
        from blog.models import Post
        from viewcache.signals import pages_expired

        post = Post.objects.get(pk=pk)
        post.title = f"post {pk} version {version}"
        confirmed: list[Any] = []

        def heard(scopes: Any, **kwargs: Any) -> None:
            # The other writer's expiries are signalled in its own thread.
            if f"tag:blog.post:{pk}" in scopes:
                confirmed.append(scopes)

        pages_expired.connect(heard)
        try:
            post.save()
            while not confirmed:
                # The cache is restarting: nothing is acknowledged yet.
                self.counts["saves again, because the cache was away"] += 1
                if self._over.wait(0.1):
                    return
                post.save()
        finally:
            pages_expired.disconnect(heard)
        self.floor[pk] = version
        self.counts["expiries"] += 1

    # -- Who writes, and who reads ----------------------------------------------------------------

    def _write(self, dice: random.Random, number: int) -> None:
        mine = [pk for pk in self.floor if pk % WRITERS == number]
        self._save(dice.choice(mine), max(self.floor.values()) + 1 + number)
        self._over.wait(2 * dice.random())

    def _read(self, dice: random.Random, number: int) -> None:
        url, server = dice.choice(self._urls), dice.choice(list(self._ports))
        visitor = dice.choice([None, None, *VISITORS])
        sent = url + ("&" if "?" in url else "?") + f"utm_source={dice.random()}"
        cookies = [f"_ga={dice.random()}", "theme=dark"]
        if visitor:
            cookies.append(f"sessionid={self._sessions[visitor]}")
        dice.shuffle(cookies)
        floor = dict(self.floor)
        connection = http.client.HTTPConnection(HOST, self._ports[server], timeout=120)
        try:
            connection.request("GET", sent, headers={"Cookie": "; ".join(cookies)})
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        with self._lock:
            self.counts["requests"] += 1
            self.counts["hits"] += response.getheader("Age") is not None
            told = f"{url} from {server} for {visitor or 'somebody'}"
            if response.status != 200:
                self.violations.append(f"{told}: status {response.status}")
            for pk, version in VERSION.findall(body):
                if int(version) < floor.get(int(pk), 0):
                    self.violations.append(
                        f"{told}: post {pk} in version {version}, and {floor[int(pk)]} was expired"
                    )
            if not set(GREETING.findall(body)) <= {visitor}:
                self.violations.append(f"{told}: greets {GREETING.findall(body)}")

    # -- What came of it --------------------------------------------------------------------------

    def growth(self) -> dict[str, int]:
        """By how many bytes each server's workers have grown after the first quarter."""
        return {name: found[-1] - found[len(found) // 4] for name, found in self.memory.items()}

    def judged(self) -> list[str]:
        """All that is wrong."""
        wrong = list(self.violations)
        wrong += [
            f"The workers of {name} have grown by {grown / 2**20:.1f} MiB."
            for name, grown in self.growth().items()
            if grown > GROWTH
        ]
        whole = self.keys[:-1]
        if whole and max(whole[-2:]) > 1.5 * max(whole[:2]) + 100:
            wrong.append(f"The number of keys has grown: {self.keys}.")
        return wrong


def _expire_nothing() -> None:
    from viewcache.store import Store

    Store.write = lambda self, entries: None  # type: ignore[method-assign]


def soak(kind: str, seconds: float, seed: int, *, is_broken: bool) -> Soak:
    """Run it for so long, on a cache server of this kind."""
    with running(kind) as cache:
        found = Soak(cache, seed)
        found.run(seconds, is_broken=is_broken)
        return found
