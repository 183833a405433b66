"""
What lies in the cache under the key of a generation, beside a generation: the mark of a scope that
is closed, or damage; and for how long each is kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from . import _core, conf

#: Seconds for which it is known when a page was softly expired. After them it is no longer served,
#: however long it may be stale.
MOMENT_SECONDS = 24 * 60 * 60

#: Seconds that a session's generation is kept: there are as many as visitors, and a cache without a
#: bound would keep them for ever. Pages that are older find it gone, and are made anew.
SESSION_SECONDS = 14 * 24 * 60 * 60
#: How the core names the keys of those.
_SESSION_KEYS = "viewcache.g1.s."

#: What stands in place of a generation while the scope has none: no page of it is served or stored.
CLOSED = "closed"
#: Seconds that a scope stays closed whose transaction neither commits nor says so. A commit takes
#: less; and a scope that was closed before a rollback is not cached for so long.
CLOSED_SECONDS = 30


def damaged(found: Mapping[str, Any], entries: Mapping[str, int]) -> dict[str, int]:
    """
    New generations for the keys where something lies that is none, and that ``add`` leaves there:
    it was found, or the backend does not say that it is there.

    Without them nothing at or below that path would be stored again until somebody expires it.
    """
    return {
        key: token
        for key, token in entries.items()
        if (value := found.get(key)) != CLOSED and not _is_generation(key, value)
    }


def _is_generation(key: str, value: Any) -> bool:
    return (
        isinstance(value, int)
        and 0 <= value < 1 << 64
        and _core.Site.moment_key(key, value) is not None
    )


def lifetime(keys: Collection[str]) -> int | None:
    """For how many seconds these generations are kept, which are written in one command."""
    are_sessions = all(key.startswith(_SESSION_KEYS) for key in keys)
    return SESSION_SECONDS if are_sessions and keys else None


def settling(entries: Mapping[str, Any]) -> tuple[Mapping[str, Any], int | None]:
    """What to write to expire, and for how many seconds."""
    seconds = conf.get().SETTLE_SECONDS
    if not seconds:
        # A record of the expiry, if there is one, is no generation.
        return entries, lifetime(
            [key for key, value in entries.items() if not isinstance(value, bytes)]
        )
    # A second more: Memcached's clock ticks once a second.
    return dict.fromkeys(entries, CLOSED), math.ceil(seconds) + 1
