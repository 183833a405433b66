"""
Django's cache backends, sync and async: the only user of ``caches``.

Under ASGI a backend that keeps its entries in this process is called at once, one with an async
client of its own is awaited, and any other costs one hop to a thread for each step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache
from django.db import connections, transaction

from . import _core, backends, breaker, conf, illegible, kinds
from .generations import CLOSED, CLOSED_SECONDS, MOMENT_SECONDS, damaged, lifetime, settling

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("viewcache.expiry")

#: An entry to set: key, record, seconds.
Entry = tuple[str, bytes, int]


class UnconfirmedError(Exception):
    """The cache did not confirm that an expiry was written."""


#: Of a cache that says nothing of its faults.
_NOT_KEPT = "The cache did not keep what was set, and said nothing of it. Is it down?"
_NOTHING = object()


class Store:
    """
    The cache of the pages, and the one where generations live: always that of
    ``CACHE_MIDDLEWARE_ALIAS``, whatever cache a view keeps its pages in.

    Raises ``InvalidCacheBackendError`` for an unknown alias; the steps raise what the backend
    raises.
    """

    #: It reads only: what goes through it is nobody's request.
    is_dry = False
    #: It is that of the whole process, and has nothing to close after a request.
    is_kept = False

    def __init__(self, alias: str | None = None) -> None:
        main: str = conf.django("CACHE_MIDDLEWARE_ALIAS")
        self._aliases = (main if alias is None else alias), main
        self.generations: BaseCache = backends.of(main)
        self.pages: BaseCache = self.generations if alias in (None, main) else backends.of(alias)
        self.breaker = breaker.of((alias, main))
        if self._is_database:
            for name in _READS + _WRITES:
                setattr(self, name, self._in_savepoint(getattr(self, name)))

    def is_allowed(self, patience: float) -> bool:
        """
        May the cache be asked, which has failed a moment ago? It is waited for so many seconds.
        """
        # Connections to the database belong to the thread of the request.
        return self.breaker.allows(None if self._is_database else self._try, patience)

    def _try(self) -> None:
        # In another thread, where the backends may be others.
        store = Store(self._aliases[0])
        for backend in {store.pages, store.generations}:
            # Memcached's client says nothing of a server that it leaves alone: neither an answer
            # nor an error.
            is_silent = kinds.is_memcached(backend) or kinds.ignores_faults(backend)
            for key in backends.tried(backend):
                if is_silent:
                    backend.set(key, 1, 60)
                if backend.get(key) is None and is_silent:
                    raise UnconfirmedError(_NOT_KEPT)

    # -- Sync -------------------------------------------------------------------------------------

    def answer(self, lookup: _core.LookUp) -> None:
        """Fetch what this look-up wants, until it is over."""
        while True:
            found = self.fetch(*lookup.wanted())
            if not lookup.receive(found, time.time()):
                return

    def fetch(self, pages: Sequence[str], generations: Sequence[str]) -> dict[str, Any]:
        """
        What is under these keys: one ``get_many``, two when pages live in another cache. Records
        may be lent, for the core to read. What cannot be decoded is absent, and deleted.
        """
        is_first = True
        while True:
            try:
                if self.pages is self.generations:
                    return backends.lend(self.pages, pages, generations)
                found = dict(self.generations.get_many(generations)) if generations else {}
                return found | backends.lend(self.pages, pages, ()) if pages else found
            except TimeoutError:
                # Nobody waits twice.
                raise
            except Exception as error:
                if not illegible.is_fault(error):
                    return self._fetch_each(pages, generations, error)
                if not is_first or not self._renew():
                    raise
                is_first = False

    def records(self, pages: Sequence[str]) -> dict[str, Any]:
        """What is under these keys of pages, whole."""
        return self._get_many(self.pages, pages)

    def _get_many(self, backend: BaseCache, keys: Sequence[str]) -> dict[str, Any]:
        return illegible.get_many(backend, keys, keep=self.is_dry)

    def _fetch_each(
        self, pages: Sequence[str], generations: Sequence[str], error: Exception
    ) -> dict[str, Any]:
        """As ``fetch``, which has met an entry that it cannot decode."""
        each = partial(illegible.get_each, error=error, keep=self.is_dry)
        if self.pages is self.generations:
            return each(self.pages, [*pages, *generations])
        return each(self.generations, generations) | each(self.pages, pages)

    def _renew(self) -> bool:
        """Is there another backend to try, with connections of its own?"""
        alias, main = self._aliases
        was, shared = (self.pages, self.generations), self.pages is self.generations
        self.generations = backends.renewed(main, self.generations) or self.generations
        if shared:
            self.pages = self.generations
        else:
            self.pages = backends.renewed(alias, self.pages) or self.pages
        return was != (self.pages, self.generations)

    def claim(self, entries: Mapping[str, int]) -> dict[str, Any]:
        """
        Give absent generations a value, and read back what they have then. Raises
        ``UnconfirmedError`` where a cache that says nothing of its faults has taken none.
        """
        for key, token in entries.items():
            is_added = illegible.add(self.generations, key, token, lifetime([key]))
            # What is there may be None, which somebody else has set.
            if not is_added and self._is_silent and self.generations.get(key, _NOTHING) is _NOTHING:
                raise UnconfirmedError(_NOT_KEPT)
        found = self._get_many(self.generations, list(entries))
        if anew := damaged(found, entries):
            self.renew(anew)
            found |= self._get_many(self.generations, list(anew))
        return found

    def renew(self, entries: Mapping[str, int]) -> dict[str, Any]:
        """
        Set absent generations, in one command, and take it that they are there.

        Readers who do so at once disagree, and then store pages that nobody is served; every new
        generation is an expiry, so none of them is ever old.
        """
        self.generations.set_many(dict(entries), None)
        return dict(entries)

    def take_turn(self, key: str, owner: str, seconds: int) -> bool:
        """Take the turn to render a page; False when another has it."""
        return illegible.add(self.pages, key, owner, seconds)

    def holder(self, key: str) -> str:
        """Who has the turn; ``""`` if it is over."""
        return str(self._get_many(self.pages, [key]).get(key) or "")

    def give_back(self, key: str) -> None:
        """Give a turn back that has led to no page."""
        self.pages.delete(key)

    def put(self, entries: Sequence[Entry]) -> None:
        """Set the entries of a page."""
        for key, value, seconds in entries:
            self.pages.set(key, value, seconds)

    def enlist(self, keys: Sequence[str], entry: bytes, seconds: int) -> bool:
        """
        See to it that this entry of the inventory is under one of these keys, and stays that long.

        False where all of them are taken: the inventory is bounded.
        """
        places = self.generations
        if illegible.add(places, keys[0], entry, seconds):
            return True
        found = self._get_many(places, keys)
        for key in (key for key in keys if found.get(key) == entry):
            places.touch(key, seconds)
            return True
        for key in (key for key in keys if key not in found):
            # Where another was quicker, it may have been with the same page.
            if illegible.add(places, key, entry, seconds) or places.get(key) == entry:
                return True
        return False

    def write(self, entries: Mapping[str, Any]) -> None:
        """
        Write new generations, and the record of them, in one command; ``UnconfirmedError`` when
        some were not taken.

        With ``SETTLE_SECONDS`` the scopes are closed for so long instead.
        """
        self._set(*settling(entries))

    def close(self, entries: Mapping[str, int]) -> None:
        """Close these scopes, whose change is about to be committed, in one command."""
        _, seconds = settling(entries)
        self._set(dict.fromkeys(entries, CLOSED), max(CLOSED_SECONDS, seconds or 0))

    def _set(self, entries: Mapping[str, Any], seconds: int | None) -> None:
        # A memcached client that has failed a moment ago says of set() nothing at all.
        if len(entries) == 1 and not kinds.is_memcached(self.generations):
            [(key, value)] = entries.items()
            self.generations.set(key, value, seconds)
        elif entries:
            _confirm(self.generations.set_many(dict(entries), seconds), entries)
        if self._is_silent:
            self._read_back(entries, seconds)

    @property
    def _is_silent(self) -> bool:
        """
        May a write fail without a word? Django's database cache lets it (a locked table, a lost
        connection), and so do ``IGNORE_EXCEPTIONS`` of django-redis and django-vcache and
        ``ignore_exc`` of pymemcache.
        """
        cache = self.generations
        return kinds.is_database(cache) or kinds.ignores_faults(cache)

    def soften(self, entries: Mapping[str, int]) -> None:
        """
        Count one more soft expiry of these generations, and note when: one ``incr`` for each, and
        one command for the moments. Where the backend's ``incr`` is not atomic, or one fails, the
        generations are written as by ``write``: a hard expiry. So they are with ``SETTLE_SECONDS``:
        what is rendered while replicas lag behind must not be stored.
        """
        now = time.time()
        hard = dict(entries)
        moments: dict[str, int] = {}
        if type(self.generations).incr is not BaseCache.incr and not conf.get().SETTLE_SECONDS:
            for key in entries:
                try:
                    self._note(key, self.generations.incr(key), now, hard, moments)
                except Exception as fault:
                    _not_softened(key, fault)
        self.write(hard)
        if moments:
            self.generations.set_many(dict(moments), MOMENT_SECONDS)

    def _note(
        self, key: str, now_is: Any, now: float, hard: dict[str, int], moments: dict[str, int]
    ) -> None:
        """A generation was counted up to this value."""
        moment_key = _core.Site.moment_key(key, now_is)
        if moment_key is not None:
            del hard[key]
            moments[moment_key] = int(now * 1000)

    def _read_back(self, entries: Mapping[str, Any], seconds: int | None) -> None:
        """Set again what is not there; what another expiry has replaced since would do, too."""
        # A table that was locked is free the next time; a server that is down stays so.
        tries = 3 if kinds.is_database(self.generations) else 1
        for left in reversed(range(tries)):
            found = self.generations.get_many(list(entries))
            lost = {key: value for key, value in entries.items() if found.get(key) != value}
            if not lost:
                return
            if left:
                self.generations.set_many(lost, seconds)
        _confirm(list(lost), entries)

    def disconnect(self) -> None:
        """What Django does with a request's backends after it, for those that are not kept."""
        for backend in self._of_request():
            backend.close()

    def _of_request(self) -> Iterable[BaseCache]:
        if backends.are_kept(self._aliases):
            return ()
        alias, main = self._aliases
        pairs = ((alias, self.pages), (main, self.generations))
        return {backend for name, backend in pairs if not backends.are_kept((name,))}

    # -- Async ------------------------------------------------------------------------------------

    async def adisconnect(self) -> None:
        """As ``disconnect``."""
        for backend in self._of_request():
            await backend.aclose()

    async def aanswer(self, lookup: _core.LookUp) -> None:
        """As ``answer``."""
        while True:
            found = await self.afetch(*lookup.wanted())
            if not lookup.receive(found, time.time()):
                return

    async def afetch(self, pages: Sequence[str], generations: Sequence[str]) -> dict[str, Any]:
        """As ``fetch``."""
        if not self._native:
            return await self._run(self.fetch, pages, generations)
        if self.pages is self.generations:
            return await illegible.aget_many(self.pages, [*pages, *generations])
        found = await illegible.aget_many(self.generations, generations) if generations else {}
        return found | await illegible.aget_many(self.pages, pages) if pages else found

    async def aclaim(self, entries: Mapping[str, int]) -> dict[str, Any]:
        """As ``claim``."""
        if not self._native:
            return await self._run(self.claim, entries)
        for key, token in entries.items():
            is_added = await self.generations.aadd(key, token, lifetime([key]))
            if is_added or not self._is_silent:
                continue
            if await self.generations.aget(key, _NOTHING) is _NOTHING:
                raise UnconfirmedError(_NOT_KEPT)
        found = await illegible.aget_many(self.generations, list(entries))
        if anew := damaged(found, entries):
            await self.arenew(anew)
            found |= await illegible.aget_many(self.generations, list(anew))
        return found

    async def arenew(self, entries: Mapping[str, int]) -> dict[str, Any]:
        """As ``renew``."""
        if not self._native:
            return await self._run(self.renew, entries)
        await self.generations.aset_many(dict(entries), None)
        return dict(entries)

    async def atake_turn(self, key: str, owner: str, seconds: int) -> bool:
        """As ``take_turn``."""
        if not self._native:
            return await self._run(self.take_turn, key, owner, seconds)
        return bool(await self.pages.aadd(key, owner, seconds))

    async def aholder(self, key: str) -> str:
        """As ``holder``."""
        if not self._native:
            return await self._run(self.holder, key)
        return str((await illegible.aget_many(self.pages, [key])).get(key) or "")

    async def agive_back(self, key: str) -> None:
        """As ``give_back``."""
        if not self._native:
            return await self._run(self.give_back, key)
        await self.pages.adelete(key)
        return None

    async def aput(self, entries: Sequence[Entry]) -> None:
        """As ``put``."""
        if not self._native:
            return await self._run(self.put, entries)
        for key, value, seconds in entries:
            await self.pages.aset(key, value, seconds)
        return None

    async def aenlist(self, keys: Sequence[str], entry: bytes, seconds: int) -> bool:
        """As ``enlist``."""
        if not self._native:
            return await self._run(self.enlist, keys, entry, seconds)
        places = self.generations
        if await places.aadd(keys[0], entry, seconds):
            return True
        found = await illegible.aget_many(places, keys)
        for key in (key for key in keys if found.get(key) == entry):
            await places.atouch(key, seconds)
            return True
        for key in (key for key in keys if key not in found):
            if await places.aadd(key, entry, seconds) or await places.aget(key) == entry:
                return True
        return False

    async def awrite(self, entries: Mapping[str, Any]) -> None:
        """As ``write``."""
        if not self._native or self._is_silent:
            return await self._run(self.write, entries)
        written, seconds = settling(entries)
        if len(written) == 1:
            [(key, value)] = written.items()
            await self.generations.aset(key, value, seconds)
        elif written:
            _confirm(await self.generations.aset_many(dict(written), seconds), written)
        return None

    async def asoften(self, entries: Mapping[str, int]) -> None:
        """As ``soften``."""
        kind = type(self.generations)
        if not self._native or kind.aincr is BaseCache.aincr:
            return await self._run(self.soften, entries)
        now = time.time()
        hard = dict(entries)
        moments: dict[str, int] = {}
        for key in entries:
            try:
                self._note(key, await self.generations.aincr(key), now, hard, moments)
            except Exception as fault:
                _not_softened(key, fault)
        await self.awrite(hard)
        if moments:
            await self.generations.aset_many(dict(moments), MOMENT_SECONDS)
        return None

    @property
    def _native(self) -> bool:
        return kinds.is_native(self.pages) and kinds.is_native(self.generations)

    async def _run(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A sync step: here when it stays in this process, else in one hop to a thread."""
        if all(map(kinds.is_in_process, (self.pages, self.generations))):
            return step(*args, **kwargs)
        # Connections to the database belong to the thread that Django's other sync code runs in.
        sensitive = self._is_database
        return await sync_to_async(step, thread_sensitive=sensitive)(*args, **kwargs)

    @property
    def _is_database(self) -> bool:
        return kinds.is_database(self.pages) or (
            self.pages is not self.generations and kinds.is_database(self.generations)
        )

    def _in_savepoint(self, step: Callable[P, T]) -> Callable[P, T]:
        """
        This step in a savepoint of each transaction that the cache's statements are part of: where
        one of them fails, PostgreSQL would refuse all that follow, which are the view's.
        """

        @wraps(step)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with ExitStack() as savepoints:
                for database in kinds.databases((self.pages, self.generations)):
                    if connections[database].in_atomic_block:
                        savepoints.enter_context(transaction.atomic(using=database))
                return step(*args, **kwargs)

        return guarded


#: The steps that send statements where the cache is a table: those that read, those that write.
_READS = ("fetch", "records", "holder")
_WRITES = ("claim", "renew", "take_turn", "give_back", "put", "enlist", "write", "close", "soften")


def _not_softened(key: str, fault: Exception) -> None:
    """It is gone, or no number, or the cache is down; the hard expiry that follows tells."""
    logger.debug("viewcache expires %s hard: %s: %s", key, type(fault).__name__, fault)


def _confirm(failed: list[Any] | None, entries: Mapping[str, object]) -> None:
    if failed:
        raise UnconfirmedError(
            f"The cache did not take {len(failed)} of {len(entries)} new generations, so pages may "
            "still be served that should have expired. Check the cache and expire again."
        )
