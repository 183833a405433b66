"""
The bounds of an early hit: ``request_started`` and ``request_finished``.

Under WSGI the two signals took 17 of a hit's 40 µs, and under ASGI they took a thread, for Django's
own receivers to find that the request has used nothing that they would have to see to: no database,
no URLconf of its own, and no cache but that of the pages. Where nobody else listens, they are not
sent.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, cast

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import connections
from django.db.backends.signals import connection_created

from viewcache import bindings
from viewcache.store import Store

from .rules import receiver_name

logger = logging.getLogger("viewcache")

_CONNECTIONS = "django.db.close_old_connections"
#: Django's receivers, each of which must be there.
_DJANGOS = {
    request_started: {"django.db.reset_queries", _CONNECTIONS},
    request_finished: {
        "django.core.cache.close_caches",
        "django.core.handlers.base.reset_urlconf",
        _CONNECTIONS,
    },
}
#: Ours are for whoever makes a page.
_OURS = {"viewcache.bindings.begin", "viewcache.bindings.end"}
#: The receivers of both signals when they were last found to be no others.
_plain: list[Any] = []


def has_listeners() -> bool:
    """Does anybody but Django itself want to hear of the request?"""
    return (
        # A view asks for the page within its own request, and ours is to hear of it.
        bindings.current.get() is not None
        or ([request_started.receivers, request_finished.receivers] != _plain and not _are_plain())
    )


def started(environ: dict[str, Any]) -> None:
    """A request begins."""
    request_started.send(sender=WSGIHandler, environ=environ)


def finished() -> None:
    """The server has sent the answer."""
    request_finished.send(sender=WSGIHandler)


def passed(store: Store) -> None:
    """A request that nobody heard of has been answered from these backends."""
    if getattr(_thread, "may_have_connections", True):
        _see_to_connections()
    try:
        if not store.is_kept:
            store.disconnect()
    except Exception:
        logger.exception(_NOT_CLOSED)


async def apassed(store: Store) -> None:
    """As ``passed``; no thread of Django's has been used, and so no connection to the database."""
    try:
        if not store.is_kept:
            await store.adisconnect()
    except Exception:
        logger.exception(_NOT_CLOSED)


def _see_to_connections() -> None:
    """Whoever opened them: in this thread there may be no other request for a while."""
    _thread.may_have_connections = False
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()
        if connection.connection is not None:
            _thread.may_have_connections = True


#: Asking Django for a thread's connections takes as long as the rest of what is done here.
_thread = threading.local()


def _note_connection(**kwargs: Any) -> None:
    _thread.may_have_connections = True


connection_created.connect(_note_connection, dispatch_uid="viewcache.early.bounds")

_NOT_CLOSED = "viewcache could not close the cache of a page that was sent early."


def _are_plain() -> bool:
    """Have both signals Django's own receivers, and no others?"""
    global _plain
    now = [list(cast(Any, signal).receivers) for signal in _DJANGOS]
    for receivers, djangos in zip(now, _DJANGOS.values(), strict=True):
        if {receiver_name(entry[1]) for entry in receivers} - _OURS != djangos:
            return False
    _plain = now
    return True
