"""Where a worker waits for its turn: before each command to the cache, and at each read of data."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache

_conductor: Connection | None = None
_is_within = False


def connect(conductor: Connection) -> None:
    """This process is a worker of that conductor."""
    global _conductor
    _conductor = conductor


def wait(what: str, *about: Any) -> Any:
    """Tell what comes next, wait until it may, and return what the conductor answers."""
    assert _conductor is not None
    _conductor.send((what, about))
    return _conductor.recv()


def _gated(name: str) -> Callable[..., Any]:
    def command(self: Any, *args: Any, **kwargs: Any) -> Any:
        global _is_within
        method = getattr(super(type(self), self), name)
        if _is_within or _conductor is None:
            return method(*args, **kwargs)
        given = args[0]
        wait(name, *([given] if isinstance(given, str) else given))
        _is_within = True
        try:
            return method(*args, **kwargs)
        finally:
            _is_within = False

    return command


_COMMANDS = ("get", "get_many", "add", "set", "set_many", "delete", "delete_many")

GatedRedis = type("GatedRedis", (RedisCache,), {name: _gated(name) for name in _COMMANDS})
GatedMemcached = type(
    "GatedMemcached", (PyMemcacheCache,), {name: _gated(name) for name in _COMMANDS}
)
