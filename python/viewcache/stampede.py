"""
One render for a page that many miss at once: the first takes the turn, the others wait for its
page, for a bounded time.

The turn is an entry in the cache, taken with its atomic ``add``. Its key is made of the page, of
the generations of the moment and of when the page was stored that is there and old, so an expiry
and the end of a page open a new turn at once, and one that has led to a page is left to end by
itself: whoever comes to it finds the page. One that has not is given back:
then the others render, too, and this process takes no turns for that URL for a while, because its
pages cannot be shared (Varnish calls this hit-for-miss). The same holds when a page was waited
for in vain: it is too large for the cache, say, or is evicted as soon as it is stored.

Where a stale page may be served meanwhile (``stale-while-revalidate``), nobody waits: whoever gets
the turn renders, in the visitor's own request, and all the others are served the stale page. No
thread renders behind anybody's back: under WSGI nobody would stop it, and what fails there is
nobody's error.
"""

from __future__ import annotations

import os
import threading
import time
from asyncio import _get_running_loop, current_task
from collections import OrderedDict

#: Seconds after which a turn is over by itself: its owner may have died.
TURN_SECONDS = 30
#: Seconds for which the pages of a URL that was not stored are not waited for.
PASS_SECONDS = 60.0
#: URLs of which that is remembered.
PASSES = 1_000
#: Seconds between two looks for the page, at first and at most.
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.2


def owner() -> str:
    """Who takes a turn: this process, this thread, and under ASGI this task."""
    task = 0 if _get_running_loop() is None else id(current_task())
    return f"{os.getpid()}.{threading.get_ident()}.{task}"


class Wait:
    """One request's wait for the page that another renders."""

    def __init__(self, limit: float) -> None:
        self._ends = time.monotonic() + limit
        self._pause = FIRST_PAUSE
        self._was_nobodys = False

    def pause(self, holder: str, url: str) -> float | None:
        """Seconds until the next look for the page; ``None`` when it is time to render."""
        if holder == owner():
            # A view that asks its own site for the page that it is part of would wait in vain.
            return None
        # It may just have ended. If the next look finds that again, the cache gives nobody a turn.
        is_in_vain, self._was_nobodys = self._was_nobodys and not holder, not holder
        if is_in_vain or time.monotonic() >= self._ends:
            passes.add(url)
            return None
        pause, self._pause = self._pause, min(self._pause * 1.5, LONGEST_PAUSE)
        return pause


def seconds(timeout: float | None) -> int:
    """How long a turn lasts for pages that are kept for so long."""
    return max(1, int(min(TURN_SECONDS, TURN_SECONDS if timeout is None else timeout)))


class Passes:
    """The URLs whose pages are not waited for, and until when. Bounded."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        self.renew_lock()

    def renew_lock(self) -> None:
        """The process was forked: a thread that is not here any more may have held the lock."""
        self._lock = threading.Lock()

    def add(self, url: str) -> None:
        """Do not wait for this URL's pages for a while."""
        with self._lock:
            self._until[url] = time.monotonic() + PASS_SECONDS
            self._until.move_to_end(url)
            if len(self._until) > PASSES:
                self._until.popitem(last=False)

    def __contains__(self, url: str) -> bool:
        until = self._until.get(url)
        return until is not None and time.monotonic() < until

    def clear(self) -> None:
        """Wait for all again."""
        with self._lock:
            self._until.clear()


passes = Passes()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=passes.renew_lock)
