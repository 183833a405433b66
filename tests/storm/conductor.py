"""Says whose turn it is, changes the data, evicts, restarts, and judges every answer."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from servers import Server, restarted, running

from storm.worker import KINDS, work

WORKERS = 4
NUMBERS = range(2)
VISITORS = [f"v{number}" for number in range(5)]
LANGUAGES = ["en", "fr", "de"]
URLS = [f"/{kind}/{number}/" for kind in KINDS for number in NUMBERS]


def cache_of(server: Server) -> dict[str, Any]:
    """An entry of CACHES whose commands wait for their turn, and which tries nothing twice."""
    if server.kind == "memcached":
        options: dict[str, Any] = {"retry_attempts": 0, "dead_timeout": 0}
        kind = "GatedMemcached"
    else:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options, kind = {"retry": Retry(NoBackoff(), 0)}, "GatedRedis"
    return {"BACKEND": f"storm.gate.{kind}", "LOCATION": server.location, "OPTIONS": options}


@dataclass
class Worker:
    """One process, and what it is in the middle of."""

    connection: Connection
    process: Any
    job: tuple[Any, ...] | None = None
    #: The oldest data that its answer may show.
    floor: int = 0
    #: What it waits for.
    waits: tuple[str, tuple[Any, ...]] | None = None
    #: The data that it wrote, by URL.
    wrote: dict[str, int] = field(default_factory=dict)


class Storm:
    """``run()`` returns what was counted; a wrong answer is an ``AssertionError`` with the seed."""

    def __init__(self, server: Server, seed: int, *, is_broken: bool = False) -> None:
        self.server = server
        self.is_broken = is_broken
        self.seed = seed
        self.dice = random.Random(seed)
        self.data = dict.fromkeys(URLS, 0)
        #: The data of each URL that the last acknowledged expiry was for.
        self.acknowledged = dict.fromkeys(URLS, 0)
        #: Every key that was asked for, in the order of the first time.
        self.known: list[str] = []
        self._is_known: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.trace = hashlib.sha256()
        self.steps = 0

    def run(self, steps: int) -> Counter[str]:
        with self._workers() as workers:
            while self.steps < steps:
                self.steps += 1
                chance = self.dice.random()
                if chance < 0.02:
                    self._evict()
                elif chance < 0.0202:
                    self._forget()
                else:
                    self._step(workers[self.dice.randrange(WORKERS)])
        self.counts["steps"] = self.steps
        return self.counts

    @contextmanager
    def _workers(self) -> Iterator[list[Worker]]:
        context = multiprocessing.get_context("fork")
        workers = []
        for _ in range(WORKERS):
            mine, theirs = context.Pipe()
            process = context.Process(
                target=work, args=(theirs, cache_of(self.server), self.is_broken), daemon=True
            )
            process.start()
            theirs.close()
            workers.append(Worker(mine, process))
        try:
            yield workers
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.connection.close()

    # -- What happens -----------------------------------------------------------------------------

    def _step(self, worker: Worker) -> None:
        """This worker goes on until it waits again, or is done."""
        if worker.job is None:
            self._begin(worker)
        else:
            self._allow(worker)
        what, about = worker.connection.recv()
        if what == "done":
            self._judge(worker, about)
            worker.job = worker.waits = None
        else:
            worker.waits = what, about
            self.trace.update(f"{what} {about}".encode())
            for key in about:
                if str(key).startswith("viewcache.") and key not in self._is_known:
                    self._is_known.add(key)
                    self.known.append(key)

    def _begin(self, worker: Worker) -> None:
        if self.dice.random() < 0.75:
            url = self.dice.choice(URLS)
            visitor, language = self.dice.choice(VISITORS), self.dice.choice(LANGUAGES)
            worker.job, worker.floor = ("get", url, visitor, language), self.acknowledged[url]
        else:
            url = self.dice.choice(URLS)
            kind = url.split("/")[1]
            expiries: list[tuple[list[str], dict[str, Any]]] = [
                ([url], {"path": url}),
                ([url], {"path": [url, "/else/"]}),
                ([other for other in URLS if kind in other], {"tree": f"/{kind}/"}),
                (URLS, {"everything": True}),
                ([other for other in URLS if "tagged" in other], {"tag": "everywhere"}),
            ]
            worker.job = ("change", *self.dice.choice(expiries))
        worker.connection.send(worker.job)

    def _allow(self, worker: Worker) -> None:
        """What it waited for happens now."""
        assert worker.waits is not None
        what, about = worker.waits
        answer = None
        if what == "read":
            answer = self.data[about[0]]
        elif what == "write":
            for url in about[0]:
                self.data[url] += 1
            worker.wrote = {url: self.data[url] for url in about[0]}
        worker.connection.send(answer)

    def _evict(self) -> None:
        if self.known:
            keys = self.dice.sample(self.known, min(3, len(self.known)))
            delete = "delete" if self.server.kind == "memcached" else "del"
            self.server.ask(*(f"{delete} :1:{key}" for key in keys))
            self.counts["evictions"] += len(keys)

    def _forget(self) -> None:
        """The server forgets everything: by a command, or because it restarts."""
        if self.dice.random() < 0.5:
            self.server.flush()
        else:
            restarted(self.server)
            self.counts["restarts"] += 1
        self.counts["flushes"] += 1

    # -- What is held against it ------------------------------------------------------------------

    def _judge(self, worker: Worker, found: Any) -> None:
        assert worker.job is not None
        self.trace.update(repr((worker.job, found)).encode())
        if worker.job[0] == "change":
            self.counts["changes"] += 1
            if found is None:
                self.counts["acknowledged"] += 1
                for url, written in worker.wrote.items():
                    self.acknowledged[url] = max(self.acknowledged[url], written)
            return
        _, url, visitor, language = worker.job
        status, body, cookie = found
        version, _, who = body.partition(" ")
        kind = url.split("/")[1]
        theirs = {"shared": "", "tagged": "", "language": language}.get(kind, visitor)
        told = f"{worker.job} got {found}; seed {self.seed}, step {self.steps}"
        assert status == 200, told
        assert int(version) >= worker.floor, f"older than {worker.floor}: {told}"
        assert who == theirs, f"another visitor's: {told}"
        assert cookie == (visitor if kind == "sets" else None), f"a cookie: {told}"
        self.counts["requests"] += 1


def storm(kind: str, seed: int, steps: int, *, is_broken: bool) -> tuple[Counter[str], str]:
    """So many steps on a server of this kind: what was counted, and a digest of it all."""
    with running(kind) as server:
        found = Storm(server, seed, is_broken=is_broken)
        counts = found.run(steps)
        return counts, found.trace.hexdigest()
