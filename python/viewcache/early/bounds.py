"""
The bounds of an early hit under WSGI: ``request_started`` and ``request_finished``.

The two signals took 17 of a hit's 40 µs, mostly for their receivers to find that there is no
connection to a database. Where nobody else listens, what Django's own receivers do is done here;
else the signal is sent.
"""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import connections
from django.dispatch import Signal
from django.urls import set_urlconf

from viewcache import bindings

from .rules import receiver_name

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
#: The receivers of each signal when they were last found to be no others.
_plain: dict[Signal, Any] = {}


def started(environ: dict[str, Any]) -> None:
    """A request begins."""
    if not _is_plain(request_started):
        request_started.send(sender=WSGIHandler, environ=environ)
        return
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()


def finished() -> None:
    """The server has sent the answer."""
    if not _is_plain(request_finished):
        request_finished.send(sender=WSGIHandler)
        return
    caches.close_all()
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
    set_urlconf(None)


def _is_plain(signal: Signal) -> bool:
    """Has this signal Django's own receivers, and no others?"""
    if bindings.current.get() is not None:
        return False  # A view asks for the page within its own, and ours is to hear of it.
    now: Any = signal.receivers
    if now == _plain.get(signal):
        return True
    if {receiver_name(entry[1]) for entry in now} - _OURS == _DJANGOS[signal]:
        _plain[signal] = list(now)
        return True
    return False
