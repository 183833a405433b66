"""
Which cookies a response depends on: those that were read while it was made.

The request is watched from the first middleware on. A read is noted by the cookie's name; what
cannot be told apart (the whole mapping, the raw header) counts as all of them. Django's own
session, CSRF and locale middleware read their cookies for every request, so their reads do not
count: the session and the token are judged by whether they were used, and the language is in the
key anyway.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import LazyObject, empty

from . import conf
from .watched import (
    ATTRIBUTE,
    Cookies,
    Headers,
    Meta,
    Scope,
    watch_messages,
    watch_session,
    watched,
)

if TYPE_CHECKING:
    from django.contrib.messages.storage.base import BaseStorage

    from .visit import Visit

#: Middleware of packages that is as Django's: django-hijack asks whether there is a session before
#: it asks for the user, where the page has used it, and two make sessions of the same cookie.
OF_PACKAGES = frozenset({"hijack.middleware", "qsessions.middleware", "user_sessions.middleware"})
#: Reads by these are judged by what came of them, not by themselves.
_DJANGOS = OF_PACKAGES | {
    "django.contrib.messages.middleware",
    "django.contrib.sessions.middleware",
    "django.middleware.csrf",
    "django.middleware.locale",
}
#: Between those and the cookie there is only this.
_BETWEEN = (
    "viewcache.audited",
    "viewcache.reads",
    "viewcache.session_engines",
    "viewcache.sessions",
    "viewcache.watched",
    "django.utils.translation",
    "django.contrib.sessions",
    "django.contrib.messages.storage",
)
#: What ``apart()`` leaves on the request: our own, and the nonce that a header will name.
_KEPT = ("_viewcache", "_cache_update_cache", "_csp", "csp_nonce")

#: The requests for which this thread or task makes something that is not part of the page. Not a
#: counter on the request: a thread beside this one may be making the page.
_PAUSED: ContextVar[tuple[Reads, ...]] = ContextVar("viewcache_paused", default=())
#: What else has to look away in ``apart()``.
_beside: Callable[[], AbstractContextManager[None]] = nullcontext
#: Told of each request that begins to be watched: the audit watches more of it.
_on_watch: Callable[[HttpRequest, Reads], None] | None = None


class Reads:
    """What was read of one request's cookies, and where."""

    #: The place that read them all, if one did.
    all: str | None = None
    #: The place that accessed the session: another than Django's own middleware.
    session: str | None = None
    #: The place that asked for a CSRF token.
    token: str | None = None
    #: The place that changed the session, again not Django's own middleware.
    modified: str | None = None
    #: The place that showed or added messages.
    messages: str | None = None
    #: Session or token were used, but not for the page: that explains ``Vary: Cookie``.
    aside_session = False
    aside_token = False
    #: The cookies that the response set when it left the view, and its ``Vary``.
    left: tuple[frozenset[str], str] | None = None
    #: The innermost visit that has missed: its page may show the session.
    visit: Visit | None = None
    #: The key of the session as the request named it, whatever became of it since.
    session_key: str | None = None
    _messages_aside = False

    def __init__(self, *, is_late: bool = False) -> None:
        #: Cookie names, each with the place that read it first.
        self.names: dict[str, str] = {}
        #: Middleware ran before the request was watched.
        self.is_late = is_late

    def __copy__(self) -> Reads:
        return self

    def __deepcopy__(self, memo: Any) -> Reads:
        # What is copied with a request, and read there, was read for the same page.
        return self

    def note(self, name: object) -> None:
        """One cookie was read."""
        if name not in self.names and not self.is_paused and (place := _place()):
            self.names[str(name)] = place

    def note_all(self) -> None:
        """All cookies were read, or there is no telling which."""
        if self.all is None and not self.is_paused:
            self.all = _place()

    def note_token(self) -> None:
        """``get_token()`` was called."""
        if self.is_paused:
            self.aside_token = True
        elif self.token is None:
            self.token = _place(but=())

    def note_secret(self) -> None:
        """The CSRF secret itself was read."""
        if not self.is_paused and (place := _place()):
            self.names.setdefault(secret_cookie(), place)

    def note_session(self) -> None:
        """The session was accessed."""
        if self.session is not None:
            return
        place = None if self.is_paused else _place()
        if place is None:
            self.aside_session = True
        else:
            self.session = place

    def note_modified(self) -> None:
        """The session was changed."""
        if self.modified is None and not self.is_paused:
            self.modified = _place()

    def note_messages(self, storage: BaseStorage) -> None:
        """Messages were shown, counted or added."""
        if self.is_paused:
            self._messages_aside |= "_loaded_data" not in storage.__dict__
        elif self.messages is None and (place := _place()):
            self.messages = place
            if self._messages_aside and self.all is None:
                # They were loaded when nobody was looking, so where they came from was not seen.
                self.all = place

    @property
    def is_paused(self) -> bool:
        """Is something being made that is not part of the page?"""
        return self in _PAUSED.get()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Reads within do not count: what they make is not part of the page."""
        token = _PAUSED.set((*_PAUSED.get(), self))
        try:
            yield
        finally:
            _PAUSED.reset(token)


@contextmanager
def apart(request: HttpRequest) -> Iterator[None]:
    """
    What is made within is not part of the page: reads do not count, and what they leave on the
    request is taken away again. A user that was loaded within would otherwise be there for the
    page, which could name it without a read being seen.
    """
    reads, known = of(request), request.__dict__
    if reads is None:
        yield
        return
    before = dict(known)
    lazy = [
        value
        for name, value in before.items()
        if isinstance(value, LazyObject)
        and value.__dict__.get("_wrapped") is empty
        and not name.startswith(_KEPT)
    ]
    try:
        with reads.paused(), _beside():
            yield
    finally:
        for name in [name for name in known if not name.startswith(_KEPT)]:
            if name not in before:
                del known[name]
            elif known[name] is not before[name]:
                known[name] = before[name]
        for value in lazy:
            value.__dict__["_wrapped"] = empty


def on_apart(told: Callable[[], AbstractContextManager[None]] | None) -> None:
    """Have this context manager entered by ``apart()``, too."""
    global _beside
    _beside = told or nullcontext


def on_watch(told: Callable[[HttpRequest, Reads], None] | None) -> None:
    """Have this function told of each request that begins to be watched."""
    global _on_watch
    _on_watch = told


def watch(request: HttpRequest, *, is_late: bool = False) -> Reads:
    """
    Watch this request from here on. Watching twice is watching once.

    It is late when middleware may have run, and somebody has read cookies: which, was not seen.
    """
    reads: Reads | None = request.__dict__.get(ATTRIBUTE)
    if reads is None:
        reads = Reads(is_late=is_late and "COOKIES" in request.__dict__)
        request.__dict__[ATTRIBUTE] = reads
        kind: Any = type(request)
        request.__class__ = watched(kind)
        request.META = Meta(request.META, reads)
        known = request.__dict__
        if "environ" in known:
            known["environ"] = request.META
        if "scope" in known:
            known["scope"] = Scope(known["scope"], reads)
        if "COOKIES" in known:
            known["COOKIES"] = Cookies(known["COOKIES"], reads)
        if "headers" in known:
            known["headers"] = Headers(request.META, reads)
        if "session" in known:
            watch_session(known["session"], reads)
        if "_messages" in known:
            watch_messages(known["_messages"], reads)
        if _on_watch is not None:
            _on_watch(request, reads)
    return reads


def leave(request: HttpRequest, response: HttpResponseBase, *, again: bool = False) -> None:
    """The response leaves the view: what middleware adds to it from here on is told apart."""
    reads = of(request)
    if reads is not None and (again or reads.left is None):
        reads.left = frozenset(response.cookies), response.headers.get("Vary", "")


def of(request: HttpRequest) -> Reads | None:
    """What was read of this request, if it is watched."""
    reads: Reads | None = request.__dict__.get(ATTRIBUTE)
    return reads


# -- Who reads ------------------------------------------------------------------------------------


def _place(*, but: Collection[str] = _DJANGOS) -> str | None:
    """
    File and line of the read: the first frame outside this module and what stands between; where
    that is within Django, also the site's own code that called it. ``None`` when it is one of
    those whose reads do not count.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_BETWEEN) or module in _DJANGOS:
            break
        frame = frame.f_back
    else:
        return "unknown"
    if but and (module in but or _sets_csrf_cookie(frame)):
        return None
    return place_of(frame)


def _sets_csrf_cookie(frame: FrameType) -> bool:
    """Is this Django's hook that sets the CSRF cookie, as a site has overridden it?"""
    return frame.f_code.co_name == "_set_csrf_cookie" and isinstance(
        frame.f_locals.get("self"), CsrfViewMiddleware
    )


def place_of(frame: FrameType) -> str:
    """File and line of this frame; where it is Django's, also of the site's code that called it."""
    site = caller(frame)
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    if site is None or site is frame:
        return place
    return f"{place}, for {site.f_code.co_filename}:{site.f_lineno}"


def place_of_caller() -> str | None:
    """The file and line of the site's own code that is running, if it is."""
    frame = caller(sys._getframe(1))
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else None


def caller(frame: FrameType | None) -> FrameType | None:
    """The innermost frame outside Django and viewcache; none beyond what called the view."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("django.core.handlers"):
            return None
        if not module.startswith(("django.", "viewcache.", "asgiref.")):
            return frame
        frame = frame.f_back
    return None


def session_cookie() -> str:
    """The name of the session's cookie."""
    return str(conf.django("SESSION_COOKIE_NAME"))


def secret_cookie() -> str:
    """The name of the cookie that the CSRF secret comes from."""
    return session_cookie() if settings.CSRF_USE_SESSIONS else str(settings.CSRF_COOKIE_NAME)
