"""
``VIEWCACHE["DURABLE"]``: an expiry that outlives the process that owes it.

Just before its commit a transaction that makes pages old does two things more:

* It writes a row that names the scopes, in the same database and transaction as the change. The
  row is deleted when the cache has taken the expiry. Until then it is delivered by whoever comes
  next: a request, ``manage.py viewcache deliver``, a task.
* It closes the scopes in the cache: in place of their generations stands ``generations.CLOSED``,
  for ``CLOSED_SECONDS``. No page of theirs is served or stored from here on, by any process. So
  when the process is killed, nobody has to know of the row in time: the commit finds no page to
  make old, and when the time is over a generation is absent, and absent is stale.

The row is for the case that the cache did not take the closing. Nothing asks for rows on the way
of a request but this: each process does when it begins, every ``LOOK_SECONDS``, and while the cache
fails.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_started, setting_changed
from django.db import connections, router
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.module_loading import import_string

from . import breaker, conf, history, signals
from .store import Store

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .models import PendingExpiry

logger = logging.getLogger("viewcache.expiry")

#: Seconds between two looks of a process for rows that others have left: a query each.
LOOK_SECONDS = 10.0
#: Seconds after which a process tries again what the cache did not take.
RETRY_SECONDS = 1.0
#: Rows that are delivered by one command to the cache.
_ROWS = 200

#: The rows that a connection has written and the cache has not yet taken.
_owed: WeakKeyDictionary[BaseDatabaseWrapper, list[UUID]] = WeakKeyDictionary()
#: Databases whose table is known to be there.
_ready: set[str] = set()
_told: set[str] = set()
#: The databases that are being migrated.
_migrating: set[str] = set()
#: Rows, with their databases, of which it has been said that they cannot be read.
_unreadable: set[tuple[str, UUID]] = set()


class _Clock:
    """When this process has looked for rows, on its monotonic clock; it does when it begins."""

    looked = -math.inf
    #: What was owed could not be delivered.
    fails = False


def is_on() -> bool:
    """Does this site keep what it owes?"""
    return conf.get().DURABLE


def model() -> type[PendingExpiry]:
    """The outbox. Raises ``ImproperlyConfigured`` where the app is not installed."""
    if not apps.is_installed("viewcache"):
        raise ImproperlyConfigured(
            "VIEWCACHE['DURABLE'] keeps expiries in a table of the app viewcache. Add 'viewcache' "
            "to INSTALLED_APPS and run manage.py migrate."
        )
    from .models import PendingExpiry

    return PendingExpiry


# -- Who owes -------------------------------------------------------------------------------------


def keep(connection: BaseDatabaseWrapper, scopes: Sequence[str]) -> None:
    """
    Write down, in the transaction that is open, that it makes these scopes old, and close them.

    A fault of the database is raised, so that the change is not committed without its row. A fault
    of the cache is logged.
    """
    if _has_table(connection):
        _owed.setdefault(connection, []).append(_insert(connection.alias, scopes))
    store = Store()
    if not store.is_allowed(0):
        return  # a transaction that is open must not wait for a cache that hangs
    try:
        store.close(conf.site().expiry(list(scopes)))
    except Exception as fault:
        store.breaker.failed()
        logger.warning(
            "viewcache could not close pages before a commit (%s: %s); old ones may be served "
            "until they are expired.",
            type(fault).__name__,
            fault,
        )
    else:
        store.breaker.answered()


def acknowledge(connection: BaseDatabaseWrapper) -> None:
    """The cache has taken what this connection's transaction had to expire."""
    if owed := _owed.pop(connection, None):
        try:
            _delete(connection.alias, owed)
            _commit(connection)
        except Exception:
            # Delivered once more, it costs a render.
            logger.exception("viewcache could not delete %d delivered expiries.", len(owed))


def leave(connection: BaseDatabaseWrapper) -> None:
    """What this connection has written down is left to whoever finds it, if it is there at all."""
    _owed.pop(connection, None)


def owe(connection: BaseDatabaseWrapper, scopes: Sequence[str]) -> None:
    """The cache did not take this expiry: it is tried again soon. Keeps what is not yet kept."""
    if connection not in _owed and not connection.in_atomic_block and _has_table(connection):
        _insert(connection.alias, scopes)
        _commit(connection)
    leave(connection)
    _Clock.fails = True
    _enqueue()


def _commit(connection: BaseDatabaseWrapper) -> None:
    """Commit a statement of ours, where nothing else does it."""
    if not connection.get_autocommit() and not connection.in_atomic_block:
        # What the connection's owner has begun is over, and this is alone in what is next.
        type(connection).commit(connection)


def _enqueue() -> None:
    """Have the project's worker try, where it has one (``django.tasks``, of Django 6.0)."""
    backend = getattr(settings, "TASKS", {}).get("default", {}).get("BACKEND", "")
    if not backend or backend.startswith("django.tasks.backends."):
        return  # Django's own have no worker: they run a task at once, or never
    try:
        import_string("viewcache.tasks.deliver").enqueue()
    except Exception as fault:
        logger.warning(
            "viewcache could not put its task on the queue (%s: %s); a request delivers what is "
            "owed.",
            type(fault).__name__,
            fault,
        )


def _has_table(connection: BaseDatabaseWrapper) -> bool:
    """Can the row be in this database? It is said once where it cannot."""
    alias = connection.alias
    if alias in _ready:
        return True
    outbox = model()
    if not router.allow_migrate_model(alias, outbox):
        why = "DATABASE_ROUTERS keeps the app viewcache out of it"
    elif outbox._meta.db_table in connection.introspection.table_names():
        _ready.add(alias)
        return True
    elif alias in _migrating or not is_on():
        return False  # that makes it, or nobody asked for it
    else:
        why = "its table is missing; run manage.py migrate"
    if alias not in _told:
        _told.add(alias)
        logger.warning(
            "VIEWCACHE['DURABLE'] cannot keep expiries in the database %r: %s. What a killed "
            "process owes there can be lost.",
            alias,
            why,
        )
    return False


def _site() -> str:
    return str(settings.CACHE_MIDDLEWARE_KEY_PREFIX)


def _insert(alias: str, scopes: Sequence[str]) -> UUID:
    pk = uuid4()
    row = model()(pk=pk, site=_site(), scopes=json.dumps(list(scopes)))
    # As fixtures are saved: no signals, and no transaction of its own.
    row.save_base(raw=True, force_insert=True, using=alias)
    return pk


def _delete(alias: str, rows: Sequence[UUID]) -> None:
    # One statement: no signals, and no row is read first.
    model()._base_manager.using(alias).filter(pk__in=rows)._raw_delete(alias)


# -- Whoever comes next ---------------------------------------------------------------------------


def deliver(using: str | None = None) -> int:
    """
    Expire what is owed in the outbox of the database ``using``, or of each that has one. Returns
    how many transactions owed it.

    A row is deleted after the cache has taken its expiry, so it is safe at any time, by any number
    of processes at once. One that cannot be read is skipped, and that is logged. Raises what the
    database or the cache raises.
    """
    outbox = model()
    count = 0
    for alias in connections if using is None else [using]:
        if not _has_table(connections[alias]):
            continue
        rows = outbox._base_manager.using(alias).filter(site=_site()).order_by("pk")
        following = rows
        while found := list(following.values_list("pk", "scopes")[:_ROWS]):
            count += _deliver(alias, found)
            # Not the first ones again: those that cannot be read are still there.
            following = rows.filter(pk__gt=found[-1][0])
    return count


def _deliver(alias: str, rows: Iterable[tuple[UUID, str]]) -> int:
    """Expire what these rows name, and delete them; how many could be read."""
    read = {pk: scopes for pk, text in rows if (scopes := _read(alias, pk, text)) is not None}
    if read:
        scopes = list(dict.fromkeys(scope for each in read.values() for scope in each))
        Store().write(history.expiry(scopes))
        signals.expired(scopes)
        _delete(alias, list(read))
    return len(read)


def _read(alias: str, pk: UUID, text: str) -> list[str] | None:
    """The scopes that this row names; ``None``, and an error in the log, where it names none."""
    try:
        found = json.loads(text)
        if isinstance(found, list) and all(isinstance(scope, str) for scope in found):
            "".join(found).encode()  # half a character is no text
            return found
    except (ValueError, RecursionError):
        pass  # as any other that is no list of scopes
    if (alias, pk) not in _unreadable:
        _unreadable.add((alias, pk))
        logger.error(
            "viewcache cannot read the pending expiry %s in the database %r: %.200r is no JSON "
            "list of scopes. It is skipped, and the others are delivered. If a newer viewcache has "
            "written it, update this process; else expire what it was about, or everything, and "
            "delete the row from %s.",
            pk,
            alias,
            text,
            model()._meta.db_table,
        )
    return None


def is_due() -> bool:
    """Is it time for this process to look for what is owed, before a page is looked up?"""
    if not is_on():
        return False
    fails = _Clock.fails or breaker.any_failing()
    return time.monotonic() - _Clock.looked >= (RETRY_SECONDS if fails else LOOK_SECONDS)


def look(**kwargs: object) -> None:
    """A request begins: deliver what is owed, if it is time to look for it."""
    if not is_due():
        return
    _Clock.looked, _Clock.fails = time.monotonic(), False
    for alias in connections:
        try:
            deliver(alias)
        except ImproperlyConfigured:
            raise
        except Exception as fault:
            _Clock.fails = True
            logger.warning(
                "viewcache could not deliver the expiries of the database %r (%s: %s); it tries "
                "again.",
                alias,
                type(fault).__name__,
                fault,
            )


def connect() -> None:
    """Look for what is owed when a request begins, where the settings ask for it."""
    forget()
    if is_on():
        request_started.connect(look, dispatch_uid="viewcache.outbox")


def forget() -> None:
    """Look no more; this process begins anew."""
    request_started.disconnect(dispatch_uid="viewcache.outbox")
    _Clock.looked, _Clock.fails = -math.inf, False
    _ready.clear()
    _told.clear()
    _unreadable.clear()


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in ("VIEWCACHE", "DATABASES", "DATABASE_ROUTERS", "INSTALLED_APPS") and apps.ready:
        # The one who asks for the settings is told what is wrong with them.
        with suppress(ImproperlyConfigured):
            connect()


def _migrates(*, using: str, **kwargs: object) -> None:
    _migrating.add(using)


def _has_migrated(*, using: str, **kwargs: object) -> None:
    _migrating.discard(using)


setting_changed.connect(_forget, dispatch_uid="viewcache.outbox")
pre_migrate.connect(_migrates, dispatch_uid="viewcache.outbox")
post_migrate.connect(_has_migrated, dispatch_uid="viewcache.outbox")
