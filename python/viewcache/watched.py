"""
The request that ``reads`` watches: its class, and what stands in place of its cookies, headers,
``META``, session and messages. Each notes what is read of it, and is else what Django has made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Self, cast

from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils.functional import cached_property

from .compat import is_of

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

    from .reads import Reads

#: Where a request, its session and its messages carry what was read of the request.
ATTRIBUTE = "_viewcache_reads"
_SAME: Mapping[str, str] = {}
#: The protocol of pickle in which an instance need not be of the class that is named.
_PLAIN = 1


@cache
def watched(kind: Any) -> type[HttpRequest]:
    """The class of a request of this class that is watched."""

    class Watched(kind):  # type: ignore[misc]
        @cached_property
        def COOKIES(self) -> dict[str, str]:  # noqa: N802
            reads: Reads = self.__dict__[ATTRIBUTE]
            with reads.paused():  # Django parses the raw header here
                cookies = super().COOKIES
            return Cookies(cookies, reads)

        @cached_property
        def headers(self) -> HttpHeaders:
            return Headers(self.META, self.__dict__[ATTRIBUTE])

        def __copy__(self) -> Any:
            copied = kind.__new__(type(self))
            copied.__dict__.update(self.__dict__)
            return copied

        def __reduce_ex__(self, protocol: Any) -> Any:
            # Pickled and deep copies are plain requests; their META notes all when it is copied.
            return _plain(self, kind, super().__reduce_ex__(_PLAIN))

        session = _watched_attribute("session", watch_session)
        _messages = _watched_attribute("_messages", watch_messages)

    return cast("type[HttpRequest]", named_like(kind, Watched))


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
        watch(value, self.__dict__[ATTRIBUTE])

    def delete(self: Any) -> None:
        self.__dict__.pop(name, None)

    return property(get, set_, delete)


def named_like(kind: Any, watched: Any) -> Any:
    """This class, named like the one in whose place it stands."""
    # Django salts the session's data with the name of the class, and people read it.
    watched.__name__ = kind.__name__
    watched.__qualname__ = kind.__qualname__
    watched.__module__ = kind.__module__
    return watched


def _plain(watched: Any, kind: type, reduced: Any, names: Mapping[str, str] = _SAME) -> Any:
    """
    What ``__reduce_ex__()`` has returned, for an instance of the class that is watched, whose
    attributes have these names: pickle does not find ours, and a copy is nobody's to watch.
    """
    function, arguments, *more = reduced
    arguments = tuple(kind if each is type(watched) else each for each in arguments)
    if more and isinstance(more[0], dict):
        state = more[0].items()
        more[0] = {names.get(name, name): value for name, value in state if name != ATTRIBUTE}
    return (function, arguments, *more)


def watch_session(session: Any, reads: Reads) -> None:
    """Have what is done with this session noted."""
    if not is_of(session, "django.contrib.sessions.backends.base", "SessionBase"):
        # Nobody can say when it will be read.
        reads.note_session()
    elif ATTRIBUTE not in session.__dict__:
        known = session.__dict__
        accessed, modified = known.pop("accessed", False), known.pop("modified", False)
        known[ATTRIBUTE] = reads
        reads.session_key = key_of(session)
        session.__class__ = _watched_session(cast(Any, type(session)))
        known["_accessed"], known["_modified"] = accessed, modified
        if accessed:
            reads.session = reads.session or "before the request was watched"
        if modified:
            reads.modified = reads.modified or "before the request was watched"


_on_session: Callable[[Any], None] | None = None


def on_session(told: Callable[[Any], None]) -> None:
    """Have this function told of each class of sessions before the first of them is watched."""
    global _on_session
    _on_session = told


def key_of(session: Any) -> str | None:
    """The key of a session of Django's making, without a read being noted."""
    return cast("str | None", session.__dict__.get("_SessionBase__session_key"))


@cache
def _watched_session(kind: Any) -> type[SessionBase]:
    if _on_session is not None:
        _on_session(kind)

    class Watched(kind):  # type: ignore[misc]
        @property
        def accessed(self) -> bool:
            return bool(self.__dict__.get("_accessed"))

        @accessed.setter
        def accessed(self, value: bool) -> None:
            self.__dict__["_accessed"] = value
            if value:
                self.__dict__[ATTRIBUTE].note_session()

        @property
        def modified(self) -> bool:
            return bool(self.__dict__.get("_modified"))

        @modified.setter
        def modified(self, value: bool) -> None:
            self.__dict__["_modified"] = value
            if value:
                self.__dict__[ATTRIBUTE].note_modified()

        # The key is the cookie's value, and reading it does not count as access for Django.

        @property
        def session_key(self) -> Any:
            self.__dict__[ATTRIBUTE].note_session()
            return super().session_key

        @property
        def _session_key(self) -> Any:
            self.__dict__[ATTRIBUTE].note_session()
            return super()._session_key

        @_session_key.setter
        def _session_key(self, value: Any) -> None:
            kind._session_key.fset(self, value)

        def __reduce_ex__(self, protocol: Any) -> Any:
            self.__dict__[ATTRIBUTE].note_session()
            names = {"_accessed": "accessed", "_modified": "modified"}
            return _plain(self, kind, super().__reduce_ex__(_PLAIN), names)

    return cast("type[SessionBase]", named_like(kind, Watched))


def watch_messages(storage: Any, reads: Reads) -> None:
    """Have what is done with these messages noted."""
    is_theirs = is_of(storage, "django.contrib.messages.storage.base", "BaseStorage")
    if is_theirs and ATTRIBUTE not in storage.__dict__:
        storage.__dict__[ATTRIBUTE] = reads
        storage.__class__ = _watched_messages(cast(Any, type(storage)))


@cache
def _watched_messages(kind: Any) -> Any:
    class Watched(kind):  # type: ignore[misc]
        def __iter__(self) -> Any:
            self.__dict__[ATTRIBUTE].note_messages(self)
            return super().__iter__()

        def __len__(self) -> int:
            self.__dict__[ATTRIBUTE].note_messages(self)
            return int(super().__len__())

        def __contains__(self, item: object) -> bool:
            self.__dict__[ATTRIBUTE].note_messages(self)
            return bool(super().__contains__(item))

        def add(self, *args: Any, **kwargs: Any) -> None:
            self.__dict__[ATTRIBUTE].note_messages(self)
            super().add(*args, **kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:
            self.__dict__[ATTRIBUTE].note_messages(self)
            return _plain(self, kind, super().__reduce_ex__(_PLAIN))

    return named_like(kind, Watched)


#: Stands in an empty ``COOKIES``: the C half of ``json`` looks at the size of a dictionary without
#: asking it, and would take the absence of cookies unseen.
_NOTHING = "\0"


class Cookies(dict[str, str]):
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


class _Shared(dict[str, Any]):
    """
    A copy of what the server has handed over. What is written to it is written to that, too:
    access logs, and whatever stands around Django, look there after the response.
    """

    def __init__(self, shared: dict[str, Any], reads: Reads) -> None:
        dict.__init__(self, shared)
        self._reads = reads
        self._shared: dict[str, Any] = shared

    def note_all(self) -> None:
        """Everything was read, or there is no telling what."""
        self._reads.note_all()

    def note(self, name: object) -> None:
        """One entry was read."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        self.note(name)
        return dict.__getitem__(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return dict.get(self, name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        dict.__setitem__(self, name, value)
        self._shared[name] = value

    def __delitem__(self, name: str) -> None:
        self.note(name)
        dict.__delitem__(self, name)
        self._shared.pop(name, None)

    def pop(self, name: str, *default: Any) -> Any:
        self.note(name)
        found = dict.pop(self, name, *default)
        self._shared.pop(name, None)
        return found

    def popitem(self) -> tuple[str, Any]:
        self.note_all()
        name, value = dict.popitem(self)
        self._shared.pop(name, None)
        return name, value

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.note(name)
        if not dict.__contains__(self, name):
            self[name] = default
        return dict.__getitem__(self, name)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def clear(self) -> None:
        dict.clear(self)
        self._shared.clear()


class Meta(_Shared):
    """``request.META``: the raw ``Cookie`` header notes all, Django's CSRF flag its use."""

    def note(self, name: object) -> None:
        if name == "HTTP_COOKIE":
            self._reads.note_all()
        elif name == "CSRF_COOKIE":
            self._reads.note_secret()

    def __contains__(self, name: object) -> bool:
        self.note(name)
        return dict.__contains__(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "CSRF_COOKIE_NEEDS_UPDATE" and value:
            self._reads.note_token()
        super().__setitem__(name, value)


class Scope(_Shared):
    """``request.scope`` under ASGI: its raw headers note all."""

    def note(self, name: object) -> None:
        if name == "headers":
            self._reads.note_all()


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

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copy is Django's own, of the headers alone: META has streams, too, which nobody copies.
        self.note_all()
        is_header = HttpHeaders.parse_header_name
        return HttpHeaders, ({name: text for name, text in self._meta.items() if is_header(name)},)


named_like(HttpHeaders, Headers)


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


def _reduced(self: Any, protocol: Any) -> Any:
    """Pickled and deep copies are plain dictionaries, and all was read."""
    return dict, (self.copy(),)


for _kind in (Cookies, _Shared):
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
        "values",
    ):
        # A request's META is measured and printed by many; only its cookies matter here.
        setattr(_kind, _name, _noting_all(_name))
    _kind.__reduce_ex__ = _reduced  # type: ignore[method-assign]
    # Dictionaries make one of their own class, and these take more than it gives.
    _kind.fromkeys = dict.fromkeys  # type: ignore[method-assign]
setattr(Cookies, "popitem", _noting_all("popitem"))  # noqa: B010 - mypy knows another
