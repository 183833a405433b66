"""
What changes a session expires the pages that show it.

A page whose making has read the session is bound to a scope of that session. Its generation is read
before the engine loads the data; where the data was there already, the generation has to be known
from before that (``sessions.bind()``). Whoever saves or deletes a session in this process expires
its scope.

For both, the methods of the engine's class are wrapped. Django sends no signal for a session, and
a middleware sees requests only: not the command that empties carts, not the code that logs a user
out everywhere, nor what a session middleware of somebody's own does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import signals
from django.utils import timezone

from . import _core, commit, conf, outbox, sessions, watched
from .visit import Visit, fault
from .watched import ATTRIBUTE, key_of

if TYPE_CHECKING:
    from .reads import Reads

#: On a session: the data that was loaded, where each request saves it.
_DATA = "_viewcache_data"
#: On a method of an engine's class: it is wrapped.
_WRAPPED = "_viewcache_wrapped"
#: The keys of the sessions that the outermost method of an engine changes: one command for all.
_changed: ContextVar[set[str] | None] = ContextVar("viewcache_sessions", default=None)


# -- What a page is about to show ------------------------------------------------------------------


def _to_guard(session: Any) -> tuple[Visit, str] | None:
    """The page that is about to show this session, and the scope of it."""
    seen: Reads | None = session.__dict__.get(ATTRIBUTE)
    if (
        seen is None
        or seen.session is None
        or seen.session_key is None
        or seen.is_paused
        or seen.visit is None
        or not seen.visit.leases
        or _is_late(session)
    ):
        return None
    return seen.visit, _core.scope_of_session(seen.session_key)


def _read_ahead(visit: Visit, scope: str) -> None:
    """Read the generation of what the page may come to show; that does not bind it yet."""
    try:
        for lease, store in visit.leases:
            if lease.unread_of([scope]):
                lease.expect([scope], remember=False)
                lease.claim(store.fetch([], conf.site().generation_keys([scope])))
            if lease.unread_of([scope]):
                lease.claim(store.claim(conf.site().expiry([scope])))
    except Exception as error:
        fault(visit, "read the generation of a session", error)


async def _aread_ahead(visit: Visit, scope: str) -> None:
    """As ``_read_ahead``."""
    try:
        for lease, store in visit.leases:
            if lease.unread_of([scope]):
                lease.expect([scope], remember=False)
                lease.claim(await store.afetch([], conf.site().generation_keys([scope])))
            if lease.unread_of([scope]):
                lease.claim(await store.aclaim(conf.site().expiry([scope])))
    except Exception as error:
        fault(visit, "read the generation of a session", error)


def _is_late(session: Any) -> bool:
    """Does the engine load what an open transaction saw before now?"""
    from . import databases

    connection = _connection(session, router.db_for_read)
    return connection is not None and databases.is_late(connection)


# -- What changes a session -----------------------------------------------------------------------


def _changes(session: Any, *, must_create: bool = False) -> bool:
    """Does saving this session change what pages show of it?"""
    if must_create or session.modified:
        return True
    if "_session_cache" not in session.__dict__:
        # It saves what it is about to load.
        return False
    # What is within may have been changed without a word; with SESSION_SAVE_EVERY_REQUEST that is
    # saved, and so is what nobody has changed.
    before = session.__dict__.get(_DATA)
    return before is None or before != _dumped(session, session.__dict__["_session_cache"])


def _dumped(session: Any, data: Any) -> bytes | None:
    with suppress(Exception):
        return bytes(session.serializer().dumps(data))
    return None


def _expire(keys: set[str], connection: BaseDatabaseWrapper | None, *, at_once: bool) -> None:
    """
    Expire the pages of these sessions: after the commit, where this database keeps them, and at
    once, where readers see them at once.
    """
    if not keys or not conf.get().VARY_ON_READ:
        return
    # The write path: a process that only reads need not load it.
    from . import databases, expiry

    scopes = sorted(map(_core.scope_of_session, keys))
    with databases.quietly():
        if connection is not None:
            at_once = at_once and commit.in_transaction(connection)
            expiry.on_commit(scopes, connection)
        if at_once and not expiry.write_or_log(scopes) and outbox.is_on():
            outbox.owe(connections[DEFAULT_DB_ALIAS], scopes)


def _expire_of(session: Any, keys: set[str]) -> None:
    if keys:
        connection = _connection(session, router.db_for_write)
        # What a cache keeps waits for no transaction.
        _expire(keys, connection, at_once=connection is None or "_cache" in session.__dict__)


def _connection(session: Any, route: Callable[..., str]) -> BaseDatabaseWrapper | None:
    """The connection to the database that keeps this session, if one does."""
    if not hasattr(session, "get_model_class"):
        return None
    connection = connections[route(session.get_model_class())]
    return None if _is_test_case(connection) else connection


def _is_test_case(connection: BaseDatabaseWrapper) -> bool:
    """Is only a test case's own transaction open, which never commits and which all readers see?"""
    blocks = connection.atomic_blocks
    return bool(blocks) and all(getattr(block, "_from_testcase", False) for block in blocks)


def _row_changed(instance: Any, using: str, **kwargs: Any) -> None:
    """``post_save`` and ``post_delete``: the row of a session, which no engine's method changed."""
    # Those that `clearsessions` deletes have ended.
    if _changed.get() is None and instance.expire_date > timezone.now():
        connection = None if _is_test_case(connections[using]) else connections[using]
        _expire({instance.session_key}, connection, at_once=connection is None)


# -- The engine -----------------------------------------------------------------------------------


@contextmanager
def _saving(session: Any, keys: set[str], args: Any, kwargs: Any) -> Iterator[None]:
    must_create = bool(args[0] if args else kwargs.get("must_create"))
    changes, former = _changes(session, must_create=must_create), key_of(session)
    try:
        yield
    finally:
        if changes:
            keys.update(key for key in (former, key_of(session)) if key)


@contextmanager
def _deleting(session: Any, keys: set[str], args: Any, kwargs: Any) -> Iterator[None]:
    key = (args[0] if args else kwargs.get("session_key")) or key_of(session)
    try:
        yield
    finally:
        if key:
            keys.add(str(key))


@contextmanager
def _loading(session: Any, keys: set[str], args: Any, kwargs: Any) -> Iterator[None]:
    if guarded := _to_guard(session):
        _read_ahead(*guarded)
    session.__dict__.setdefault(sessions.LOADED, conf.site().moment())
    yield


@contextmanager
def _by_others(session: Any, keys: set[str], args: Any, kwargs: Any) -> Iterator[None]:
    """It calls the methods above."""
    yield


_METHODS = {
    "save": _saving,
    "delete": _deleting,
    "load": _loading,
    "flush": _by_others,
    "cycle_key": _by_others,
}


@contextmanager
def _gathering() -> Iterator[tuple[set[str], bool]]:
    """The keys of what is changed within, and whether nobody around is going to expire them."""
    around = _changed.get()
    keys: set[str] = set() if around is None else around
    token = _changed.set(keys)
    try:
        yield keys, around is None
    finally:
        _changed.reset(token)


def _wrapped(method: Any, step: Any) -> Any:
    @wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _gathering() as (keys, is_outermost):
            try:
                with step(self, keys, args, kwargs):
                    found = method(self, *args, **kwargs)
            finally:
                if is_outermost:
                    _expire_of(self, keys)
        return _kept(self, found) if step is _loading else found

    return wrapped


def _awrapped(method: Any, step: Any) -> Any:
    @wraps(method)
    async def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _gathering() as (keys, is_outermost):
            if step is _loading and (guarded := _to_guard(self)):
                await _aread_ahead(*guarded)
            try:
                with step(self, keys, args, kwargs):
                    found = await method(self, *args, **kwargs)
            finally:
                if is_outermost and keys:
                    # In the thread whose transaction may be open.
                    await sync_to_async(_expire_of)(self, keys)
        return _kept(self, found) if step is _loading else found

    return wrapped


def _kept(session: Any, data: Any) -> Any:
    """The data that was loaded, as it was, if each request saves it."""
    if settings.SESSION_SAVE_EVERY_REQUEST:
        session.__dict__[_DATA] = _dumped(session, data)
    return data


def follow(kind: Any) -> None:
    """Learn of what sessions of this class load, save and delete, from here on."""
    if not sessions.is_kept(kind):
        return
    for name, step in _METHODS.items():
        for found, wrap in ((name, _wrapped), (f"a{name}", _awrapped)):
            method = getattr(kind, found, None)
            if method is not None and not getattr(method, _WRAPPED, False):
                method = wrap(method, step)
                setattr(method, _WRAPPED, True)
                setattr(kind, found, method)


#: The engine that is followed.
_connected = ""


def connect() -> None:
    """
    Follow the engine of the settings. One that cannot be imported is Django's to tell; that of a
    site without sessions, which is the database's by default, has no model.
    """
    global _connected
    watched.on_session(follow)
    # Each ``cache_page`` asks, and may do so before there are models.
    if _connected == settings.SESSION_ENGINE or not apps.models_ready:
        return
    _connected = settings.SESSION_ENGINE
    with suppress(ImportError, AttributeError, RuntimeError):
        engine: Any = import_module(settings.SESSION_ENGINE).SessionStore
        follow(engine)
        if hasattr(engine, "get_model_class"):
            # Of this model alone: of any that somebody hears of Django fetches what it deletes.
            for signal in (signals.post_save, signals.post_delete):
                uid = "viewcache.sessions"
                signal.connect(_row_changed, sender=engine.get_model_class(), dispatch_uid=uid)


def _connect_again(*, setting: str, **kwargs: Any) -> None:
    if setting == "SESSION_ENGINE":
        connect()


setting_changed.connect(_connect_again, dispatch_uid="viewcache.sessions")
