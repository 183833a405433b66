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
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import LazyObject, cached_property, empty

from . import conf
from .compat import is_of

if TYPE_CHECKING:
    from django.contrib.messages.storage.base import BaseStorage
    from django.contrib.sessions.backends.base import SessionBase

_ATTRIBUTE = "_viewcache_reads"

#: Reads by these are judged by what came of them, not by themselves.
_DJANGOS = frozenset(
    {
        "django.contrib.messages.middleware",
        "django.contrib.sessions.middleware",
        "django.middleware.csrf",
        "django.middleware.locale",
    }
)
#: Between those and the cookie there is only this.
_BETWEEN = (
    "viewcache.audited",
    "viewcache.reads",
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
    _messages_aside = False

    def __init__(self, *, is_late: bool = False) -> None:
        #: Cookie names, each with the place that read it first.
        self.names: dict[str, str] = {}
        #: Middleware ran before the request was watched.
        self.is_late = is_late

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
    reads: Reads | None = request.__dict__.get(_ATTRIBUTE)
    if reads is None:
        reads = Reads(is_late=is_late and "COOKIES" in request.__dict__)
        request.__dict__[_ATTRIBUTE] = reads
        kind: Any = type(request)
        request.__class__ = watched(kind)
        request.META = Meta(request.META, reads)
        known = request.__dict__
        if "environ" in known:
            known["environ"] = request.META
        if "scope" in known:
            known["scope"] = Scope(known["scope"], reads)
        if "COOKIES" in known:
            known["COOKIES"] = _Cookies(known["COOKIES"], reads)
        if "headers" in known:
            known["headers"] = Headers(request.META, reads)
        if "session" in known:
            _watch_session(known["session"], reads)
        if "_messages" in known:
            _watch_messages(known["_messages"], reads)
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
    reads: Reads | None = request.__dict__.get(_ATTRIBUTE)
    return reads


# -- The watched request --------------------------------------------------------------------------


@cache
def watched(kind: Any) -> type[HttpRequest]:
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
            return Headers(self.META, self.__dict__[_ATTRIBUTE])

        def __copy__(self) -> Any:
            copied = kind.__new__(type(self))
            copied.__dict__.update(self.__dict__)
            return copied

        def __reduce_ex__(self, protocol: Any) -> Any:
            # Pickled and deep copies are plain requests; their META notes all when it is copied.
            function, (_, *rest), *more = super().__reduce_ex__(protocol)
            return (function, (kind, *rest), *more)

        session = _watched_attribute("session", _watch_session)
        _messages = _watched_attribute("_messages", _watch_messages)

    return cast("type[HttpRequest]", _named_like(kind, Watched))


def _watched_attribute(name: str, watch: Callable[[Any, Reads], None]) -> property:
    """An attribute of the request whose value is watched from the moment it is set."""

    def get(self: Any) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self) from None

    def set_(self: Any, value: Any) -> None:
        self.__dict__[name] = value
        watch(value, self.__dict__[_ATTRIBUTE])

    def delete(self: Any) -> None:
        self.__dict__.pop(name, None)

    return property(get, set_, delete)


def _named_like(kind: Any, watched: Any) -> Any:
    # Django salts the session's data with the name of the class, and people read it.
    watched.__name__ = kind.__name__
    watched.__qualname__ = kind.__qualname__
    watched.__module__ = kind.__module__
    return watched


def _watch_session(session: Any, reads: Reads) -> None:
    if not is_of(session, "django.contrib.sessions.backends.base", "SessionBase"):
        # Nobody can say when it will be read.
        reads.note_session()
    elif _ATTRIBUTE not in session.__dict__:
        known = session.__dict__
        accessed, modified = known.pop("accessed", False), known.pop("modified", False)
        known[_ATTRIBUTE] = reads
        session.__class__ = _watched_session(cast(Any, type(session)))
        known["_accessed"], known["_modified"] = accessed, modified
        if accessed:
            reads.session = reads.session or "before the request was watched"
        if modified:
            reads.modified = reads.modified or "before the request was watched"


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

        @property
        def modified(self) -> bool:
            return bool(self.__dict__.get("_modified"))

        @modified.setter
        def modified(self, value: bool) -> None:
            self.__dict__["_modified"] = value
            if value:
                self.__dict__[_ATTRIBUTE].note_modified()

        # The key is the cookie's value, and reading it does not count as access for Django.

        @property
        def session_key(self) -> Any:
            self.__dict__[_ATTRIBUTE].note_session()
            return super().session_key

        @property
        def _session_key(self) -> Any:
            self.__dict__[_ATTRIBUTE].note_session()
            return super()._session_key

        @_session_key.setter
        def _session_key(self, value: Any) -> None:
            kind._session_key.fset(self, value)

        def __reduce_ex__(self, protocol: Any) -> Any:
            self.__dict__[_ATTRIBUTE].note_session()
            return super().__reduce_ex__(protocol)

    return cast("type[SessionBase]", _named_like(kind, Watched))


def _watch_messages(storage: Any, reads: Reads) -> None:
    is_theirs = is_of(storage, "django.contrib.messages.storage.base", "BaseStorage")
    if is_theirs and _ATTRIBUTE not in storage.__dict__:
        storage.__dict__[_ATTRIBUTE] = reads
        storage.__class__ = _watched_messages(cast(Any, type(storage)))


@cache
def _watched_messages(kind: Any) -> Any:
    class Watched(kind):  # type: ignore[misc]
        def __iter__(self) -> Any:
            self.__dict__[_ATTRIBUTE].note_messages(self)
            return super().__iter__()

        def __len__(self) -> int:
            self.__dict__[_ATTRIBUTE].note_messages(self)
            return int(super().__len__())

        def __contains__(self, item: object) -> bool:
            self.__dict__[_ATTRIBUTE].note_messages(self)
            return bool(super().__contains__(item))

        def add(self, *args: Any, **kwargs: Any) -> None:
            self.__dict__[_ATTRIBUTE].note_messages(self)
            super().add(*args, **kwargs)

    return _named_like(kind, Watched)


#: Stands in an empty ``COOKIES``: the C half of ``json`` looks at the size of a dictionary without
#: asking it, and would take the absence of cookies unseen.
_NOTHING = "\0"


class _Cookies(dict[str, str]):
    """``request.COOKIES``: a look-up by name notes the name, everything else notes all."""

    def __init__(self, cookies: dict[str, str], reads: Reads) -> None:
        dict.__init__(self, cookies or {_NOTHING: ""})
        self._reads = reads

    def note_all(self) -> None:
        self._reads.note_all()

    def __getitem__(self, name: str) -> str:
        self._reads.note(name)
        return dict.__getitem__(self, name)

    def __delitem__(self, name: str) -> None:
        self._reads.note(name)
        dict.__delitem__(self, name)

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


class Meta(dict[str, Any]):
    """``request.META``: the raw ``Cookie`` header notes all, Django's CSRF flag its use."""

    def __init__(self, meta: dict[str, Any], reads: Reads) -> None:
        dict.__init__(self, meta)
        self._reads = reads

    def note_all(self) -> None:
        """Everything was read, or there is no telling what."""
        self._reads.note_all()

    def note(self, name: object) -> None:
        """One entry was read."""
        if name == "HTTP_COOKIE":
            self._reads.note_all()
        elif name == "CSRF_COOKIE":
            self._reads.note_secret()

    def __getitem__(self, name: str) -> Any:
        self.note(name)
        return dict.__getitem__(self, name)

    def __delitem__(self, name: str) -> None:
        self.note(name)
        dict.__delitem__(self, name)

    def __contains__(self, name: object) -> bool:
        self.note(name)
        return dict.__contains__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return dict.get(self, name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.note(name)
        return dict.pop(self, name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return dict.setdefault(self, name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "CSRF_COOKIE_NEEDS_UPDATE" and value:
            self._reads.note_token()
        dict.__setitem__(self, name, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value


class Scope(dict[str, Any]):
    """``request.scope`` under ASGI: its raw headers note all."""

    def __init__(self, scope: dict[str, Any], reads: Reads) -> None:
        dict.__init__(self, scope)
        self._reads = reads

    def note_all(self) -> None:
        """Everything was read, or there is no telling what."""
        self._reads.note_all()

    def note(self, name: object) -> None:
        """One entry was read."""
        if name == "headers":
            self._reads.note_all()

    def __getitem__(self, name: str) -> Any:
        self.note(name)
        return dict.__getitem__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return dict.get(self, name, default)


class Headers(HttpHeaders):
    """``request.headers``: ``Cookie``, or all headers at once, note all cookies."""

    def __init__(self, meta: Meta, reads: Reads) -> None:
        # A plain copy: that Django builds this mapping from every header is no read.
        self._meta = dict(dict.items(meta))
        self._reads = reads

    @cached_property
    def _store(self) -> dict[str, tuple[str, Any]]:  # type: ignore[override]
        """
        What Django makes of all headers, which takes as long as all else that is done with most
        requests: each asks for one or two.
        """
        headers: Any = HttpHeaders(self._meta)
        store: dict[str, tuple[str, Any]] = headers._store
        return store

    def note_all(self) -> None:
        """Everything was read, or there is no telling what."""
        self._reads.note_all()

    def note(self, name: str) -> None:
        """One header was read, by its name in lower case."""
        if name == "cookie":
            self._reads.note_all()

    def __getitem__(self, name: str) -> str:
        plain = name.lower().replace("_", "-")
        self.note(plain)
        if "_store" not in self.__dict__ and _are_usual(self._meta):
            found: str | None = self._meta.get(HttpHeaders.to_wsgi_name(name))
            if found is not None:
                return found
            raise KeyError(plain)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        self.note_all()
        return super().__iter__()

    def __len__(self) -> int:
        self.note_all()
        return super().__len__()

    def __repr__(self) -> str:
        self.note_all()
        return super().__repr__()


def _are_usual(meta: dict[str, Any]) -> bool:
    """Are these headers named as servers name them, each in one way only?"""
    return not any("-" in name or not name.isupper() for name in meta if name[:5] == "HTTP_")


def _noting_all(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.note_all()
        found: Any = self
        if dict.__contains__(self, _NOTHING):
            found = {key: value for key, value in dict.items(self) if key != _NOTHING}
        return getattr(dict, name)(found, *args, **kwargs)

    method.__name__ = name
    return method


for _kind in (_Cookies, Meta, Scope):
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
