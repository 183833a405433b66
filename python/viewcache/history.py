"""
Which writes have expired pages, where that is recorded (``VIEWCACHE["RECORD_EXPIRIES"]``).

``recent(limit)`` is what an admin page or a dashboard shows: the latest expiries of the site, each
an ``Expired`` with its moment, who, why, where and scopes. ``last_of(scopes)`` is the one that a
page with these scopes has to thank for. Both return nothing where nothing is recorded; ask
``is_on()`` to tell the two apart. They read the cache with one command, or two, and raise what it
raises.

A record travels with the expiry, in the same command. It lies in one of as many places as the
setting says, chosen by the new generation, so their number is bounded, a later one may take the
place of an earlier one, and a page's generation leads to the record of its expiry and to no other.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from . import conf
from .causes import Cause, cause
from .sessions import is_session
from .store import Store

#: Scopes and causes of one expiry that its record names; texts are cut where they are told.
_SCOPES = 50
_CAUSES = 10
_FIELDS = {"token", "when", "scopes", "total", "causes"}
#: The year 9999 in seconds, about: there are no dates after it.
_END_OF_TIME = 2.5e11
#: Scopes that wait for a commit, whose causes a thread keeps.
_WAITING = 4096


class Expired(NamedTuple):
    """An expiry that is on record."""

    #: When it was written to the cache, after the commit.
    when: datetime
    #: The user and request, the command, or the process: ``admin, ann, POST /admin/…/change/``.
    who: str
    #: What was done: ``blog.Post 12: save()``, ``SQL``, ``expire()``.
    why: str
    #: The file and line of the site's own code, or ``""``.
    where: str
    #: The statement without its parameters, or ``""``.
    statement: str
    #: The scopes that it expired, fifty at most, as ``expire()`` returns them.
    scopes: tuple[str, ...]
    #: How many they were.
    total: int


class _Noted(threading.local):
    def __init__(self) -> None:
        self.causes: dict[str, Cause] = {}


_noted = _Noted()


def is_on() -> bool:
    """Are expiries recorded? Not with ``SETTLE_SECONDS``, where an expiry has no generation."""
    return _places() > 0


def _places() -> int:
    """How many records are kept."""
    known = conf.get()
    return 0 if known.SETTLE_SECONDS else known.RECORD_EXPIRIES


# -- Writing --------------------------------------------------------------------------------------


def note(scopes: Iterable[str], statement: str = "") -> None:
    """These scopes are about to be expired, perhaps not before a commit, by the code that runs."""
    if not is_on():
        return
    found = cause(statement)
    if len(_noted.causes) > _WAITING:
        # What was rolled back is never asked for.
        _noted.causes.clear()
    _noted.causes.update(dict.fromkeys(scopes, found))


def expiry(scopes: list[str]) -> dict[str, Any]:
    """What to write to the cache to expire these scopes, with the record of it where it is on."""
    entries: dict[str, Any] = dict(conf.site().expiry(scopes))
    places = _places()
    # A session changes with every visitor's click: it would push all else out of the record.
    if not places or all(map(is_session, scopes)):
        return entries
    # All scopes have one generation, the name of the expiry.
    token = next(iter(entries.values()))
    [key] = _keys([_place(token, places)])
    return {**dict.fromkeys(entries, token), key: _record(token, scopes)}


def _record(token: int, scopes: list[str]) -> bytes:
    causes: dict[Cause, list[str]] = {}
    for scope in scopes:
        if (known := _noted.causes.pop(scope, None)) is not None:
            causes.setdefault(known, []).append(scope)
    if not causes:
        causes[cause()] = scopes
    told = {
        "token": token,
        "when": time.time(),
        "scopes": scopes[:_SCOPES],
        "total": len(scopes),
        "causes": [[*each, of[:_SCOPES]] for each, of in list(causes.items())[:_CAUSES]],
    }
    return json.dumps(told).encode()


# -- Reading --------------------------------------------------------------------------------------


def recent(limit: int = 100) -> list[Expired]:
    """The latest expiries that are on record, latest first."""
    found = _read(range(_places()))
    return [_expired(told) for told in sorted(found, key=lambda told: -told["when"])[:limit]]


def last_of(scopes: Iterable[str]) -> Expired | None:
    """
    The latest expiry of any of these scopes, with the cause that it had for that scope; ``None``
    where there is none on record.
    """
    places = _places()
    if not places:
        return None
    names = list(scopes)
    keys = conf.site().generation_keys(names)
    there = Store().fetch([], keys)
    tokens = {
        there[key]: name
        for key, name in zip(keys, names, strict=True)
        if isinstance(there.get(key), int)
    }
    read = _read({_place(token, places) for token in tokens})
    found = [told for told in read if told["token"] in tokens]
    if not found:
        return None
    last = max(found, key=lambda told: float(told["when"]))
    return _expired(last, tokens[last["token"]])


def _place(token: int, places: int) -> int:
    """The place of this generation's record; its low bits are alike, they count soft expiries."""
    return (token >> 32) % places


def _keys(places: Iterable[int]) -> list[str]:
    return conf.site().generation_keys([f"expiry:{place}" for place in places])


def _read(places: Iterable[int]) -> list[dict[str, Any]]:
    found = Store().fetch([], _keys(places)) if places else {}
    return [told for told in map(_told, found.values()) if told is not None]


def _told(value: Any) -> dict[str, Any] | None:
    """A record; ``None`` for anything else that lies there: others may write to the cache."""
    try:
        told = json.loads(value)
    except (TypeError, ValueError):
        return None
    return told if _is_record(told) else None


def _is_record(told: Any) -> bool:
    """Is it made as ``_record()`` makes them?"""
    if not isinstance(told, dict) or told.keys() != _FIELDS:
        return False
    when, causes = told["when"], told["causes"]
    return (
        isinstance(told["token"], int)
        and isinstance(told["total"], int)
        and isinstance(when, float)
        and 0 <= when < _END_OF_TIME
        and _are_texts(told["scopes"])
        and isinstance(causes, list)
        and causes != []
        and all(
            isinstance(each, list)
            and len(each) == len(Cause._fields) + 1
            and _are_texts(each[:-1])
            and _are_texts(each[-1])
            for each in causes
        )
    )


def _are_texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str) for each in given)


def _expired(told: dict[str, Any], scope: str | None = None) -> Expired:
    causes = told["causes"]
    who, why, where, statement, _ = next((each for each in causes if scope in each[4]), causes[0])
    when = datetime.fromtimestamp(told["when"], UTC)
    return Expired(when, who, why, where, statement, tuple(told["scopes"]), told["total"])
