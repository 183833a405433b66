"""
Pages that show a session: bound to a scope of it, which ``session_engines`` expires.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.http import HttpRequest

from . import _core, conf, reads
from .visit import Visit

#: On a session: what this process had read of generations when the data was loaded, as the core
#: counts.
LOADED = "_viewcache_loaded"


def is_session(scope: str) -> bool:
    """Is this the scope of a session?"""
    return scope.startswith("session:")


def bind(request: HttpRequest, visit: Visit, cookies: Collection[str] | None) -> str | None:
    """
    Bind the page, which is told apart by these cookies, to the session that it has read. Returns
    why it cannot be stored: the data may be older than the generation.
    """
    seen, session = reads.of(request), request.__dict__.get("session")
    if (
        seen is None
        or seen.session is None
        or seen.session_key is None
        or visit.lease is None
        or not is_kept(type(session))
        or "_session_cache" not in session.__dict__
        or not conf.site().tells_sessions_apart(None if cookies is None else set(cookies))
    ):
        return None
    scope = _core.scope_of_session(seen.session_key)
    visit.lease.read([scope])
    loaded = session.__dict__.get(LOADED)
    if loaded is not None and visit.lease.younger_than(loaded, [scope]) is None:
        return None
    # The next request of this URL asks for it with the page.
    visit.teaches = True
    return "session read before its generation"


def is_kept(kind: Any) -> bool:
    """Does the site keep these sessions? A signed cookie holds all there is of one."""
    modules = {base.__module__ for base in kind.__mro__}
    return (
        "django.contrib.sessions.backends.base" in modules
        and "django.contrib.sessions.backends.signed_cookies" not in modules
    )
