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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any, cast

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils.functional import cached_property

_ATTRIBUTE = "_viewcache_reads"

#: Reads by these are judged by what came of them, not by themselves.
_DJANGOS = frozenset(
    {
        "django.contrib.sessions.middleware",
        "django.middleware.csrf",
        "django.middleware.locale",
    }
)
#: Between those and the cookie there is only this.
_BETWEEN = ("viewcache.reads", "django.utils.translation", "django.contrib.sessions")


class Reads:
    """What was read of one request's cookies, and where."""

    __slots__ = (
        "_paused",
        "all",
        "names",
        "session",
        "session_aside",
        "session_at",
        "token",
        "token_at",
    )

    def __init__(self) -> None:
        #: Cookie names, each with the place that read it first.
        self.names: dict[str, str] = {}
        #: The place that read them all, if one did.
        self.all: str | None = None
        #: The session was accessed by another than Django's CSRF middleware.
        self.session = False
        #: The place that did so first.
        self.session_at: str | None = None
        #: It was accessed for something that is not part of the page: that explains Django's
        #: ``Vary: Cookie``.
        self.session_aside = False
        #: A CSRF token was asked for.
        self.token = False
        self.token_at: str | None = None
        self._paused = 0

    def note(self, name: object) -> None:
        """One cookie was read."""
        if name in self.names or self._paused:
            return
        frame = _reader()
        if frame is None or frame.f_globals.get("__name__") not in _DJANGOS:
            self.names[str(name)] = _place(frame)

    def note_all(self) -> None:
        """All cookies were read, or there is no telling which."""
        if self.all is None and not self._paused:
            frame = _reader()
            if frame is None or frame.f_globals.get("__name__") not in _DJANGOS:
                self.all = _place(frame)

    def note_token(self) -> None:
        """``get_token()`` was called."""
        if not (self._paused or self.token):
            self.token, self.token_at = True, _place(_reader())

    def note_session(self) -> None:
        """The session was accessed."""
        if self.session:
            return
        frame = None if self._paused else _reader()
        if self._paused or (frame and frame.f_globals.get("__name__") in _DJANGOS):
            self.session_aside = True
        else:
            self.session, self.session_at = True, _place(frame)

    @property
    def is_paused(self) -> bool:
        """Is something being made that is not part of the page?"""
        return self._paused > 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Reads within do not count: what they make is not part of the page."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1


def watch(request: HttpRequest) -> Reads:
    """Watch this request from here on. Watching twice is watching once."""
    reads = request.__dict__.get(_ATTRIBUTE)
    if reads is None:
        reads = Reads()
        request.__dict__[_ATTRIBUTE] = reads
        request.__class__ = _watched(cast(Any, type(request)))
        request.META = _Meta(request.META, reads)
        known = request.__dict__
        if "environ" in known:
            known["environ"] = request.META
        if "scope" in known:
            known["scope"] = _Scope(known["scope"], reads)
        if "COOKIES" in known:
            known["COOKIES"] = _Cookies(known["COOKIES"], reads)
        if "headers" in known:
            known["headers"] = _Headers(request.META, reads)
        if "session" in known:
            _watch_session(known["session"], reads)
    return cast(Reads, reads)


def of(request: HttpRequest) -> Reads | None:
    """What was read of this request, if it is watched."""
    return cast("Reads | None", request.__dict__.get(_ATTRIBUTE))


# -- The watched request --------------------------------------------------------------------------


@cache
def _watched(kind: Any) -> type[HttpRequest]:
    """The class of a request of this class that is watched."""

    class Watched(kind):  # type: ignore[misc]
        @cached_property
        def COOKIES(self) -> dict[str, str]:  # noqa: N802
            reads: Reads = self.__dict__[_ATTRIBUTE]
            with reads.paused():  # Django parses the raw header here
                cookies = super().COOKIES
            return _Cookies(cookies, reads)

        @cached_property
        def headers(self) -> HttpHeaders:
            return _Headers(self.META, self.__dict__[_ATTRIBUTE])

        @property
        def session(self) -> Any:
            try:
                return self.__dict__["session"]
            except KeyError:
                message = f"{type(self).__name__!r} object has no attribute 'session'"
                raise AttributeError(message, name="session", obj=self) from None

        @session.setter
        def session(self, session: Any) -> None:
            self.__dict__["session"] = session
            _watch_session(session, self.__dict__[_ATTRIBUTE])

        @session.deleter
        def session(self) -> None:
            self.__dict__.pop("session", None)

    Watched.__name__ = kind.__name__
    Watched.__qualname__ = kind.__qualname__
    Watched.__module__ = kind.__module__
    return Watched


def _watch_session(session: Any, reads: Reads) -> None:
    if isinstance(session, SessionBase):
        session.__dict__[_ATTRIBUTE] = reads
        if session.__dict__.pop("accessed", False):
            session.__dict__["_accessed"] = reads.session = True
        session.__class__ = _watched_session(type(session))


@cache
def _watched_session(kind: Any) -> type[SessionBase]:
    class Watched(kind):  # type: ignore[misc]
        @property
        def accessed(self) -> bool:
            return bool(self.__dict__.get("_accessed"))

        @accessed.setter
        def accessed(self, value: bool) -> None:
            self.__dict__["_accessed"] = value
            if value:
                self.__dict__[_ATTRIBUTE].note_session()

    Watched.__name__ = kind.__name__
    Watched.__qualname__ = kind.__qualname__
    Watched.__module__ = kind.__module__
    return Watched


class _Cookies(dict[str, str]):
    """``request.COOKIES``: a look-up by name notes the name, everything else notes all."""

    def __init__(self, cookies: dict[str, str], reads: Reads) -> None:
        dict.__init__(self, cookies)
        self._reads = reads

    def __getitem__(self, name: str) -> str:
        self._reads.note(name)
        return dict.__getitem__(self, name)

    def __contains__(self, name: object) -> bool:
        self._reads.note(name)
        return dict.__contains__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        self._reads.note(name)
        return dict.get(self, name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._reads.note(name)
        return dict.pop(self, name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self._reads.note(name)
        return dict.setdefault(self, name, default)


class _Meta(dict[str, Any]):
    """``request.META``: the raw ``Cookie`` header notes all, Django's CSRF flag its use."""

    def __init__(self, meta: dict[str, Any], reads: Reads) -> None:
        dict.__init__(self, meta)
        self._reads = reads

    def __getitem__(self, name: str) -> Any:
        if name == "HTTP_COOKIE":
            self._reads.note_all()
        return dict.__getitem__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        if name == "HTTP_COOKIE":
            self._reads.note_all()
        return dict.get(self, name, default)

    def __contains__(self, name: object) -> bool:
        if name == "HTTP_COOKIE":
            self._reads.note_all()
        return dict.__contains__(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "CSRF_COOKIE_NEEDS_UPDATE" and value:
            self._reads.note_token()
        dict.__setitem__(self, name, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value


class _Scope(dict[str, Any]):
    """``request.scope`` under ASGI: its raw headers note all."""

    def __init__(self, scope: dict[str, Any], reads: Reads) -> None:
        dict.__init__(self, scope)
        self._reads = reads

    def __getitem__(self, name: str) -> Any:
        if name == "headers":
            self._reads.note_all()
        return dict.__getitem__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        if name == "headers":
            self._reads.note_all()
        return dict.get(self, name, default)


class _Headers(HttpHeaders):
    """``request.headers``: ``Cookie``, or all headers at once, note all cookies."""

    def __init__(self, meta: _Meta, reads: Reads) -> None:
        # A plain copy: that Django builds this mapping from every header is no read.
        super().__init__(dict(dict.items(meta)))
        self._reads = reads

    def __getitem__(self, name: str) -> str:
        if name.lower().replace("_", "-") == "cookie":
            self._reads.note_all()
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        self._reads.note_all()
        return super().__iter__()


def _noting_all(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._reads.note_all()
        return getattr(dict, name)(self, *args, **kwargs)

    method.__name__ = name
    return method


for _kind in (_Cookies, _Meta, _Scope):
    for _name in (
        "__eq__",
        "__ne__",
        "__iter__",
        "__len__",
        "__or__",
        "__ror__",
        "__repr__",
        "__reversed__",
        "copy",
        "items",
        "keys",
        "popitem",
        "values",
    ):
        # A request's META is measured and printed by many; only its cookies matter here.
        setattr(_kind, _name, _noting_all(_name))


# -- Who reads ------------------------------------------------------------------------------------


def _reader() -> FrameType | None:
    """The frame that reads: the first outside this module and what stands between."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_BETWEEN) or module in _DJANGOS:
            return frame
        frame = frame.f_back
    return None


def _place(frame: FrameType | None) -> str:
    """File and line; where that is within Django, also the site's own code that called it."""
    if frame is None:
        return "unknown"
    caller = _caller(frame)
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    if caller is None or caller is frame:
        return place
    return f"{place}, for {caller.f_code.co_filename}:{caller.f_lineno}"


def place_of_caller() -> str | None:
    """The file and line of the site's own code that is running, if it is."""
    frame = _caller(sys._getframe(1))
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else None


def _caller(frame: FrameType | None) -> FrameType | None:
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
    return cast(str, settings.SESSION_COOKIE_NAME)
