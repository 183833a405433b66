"""
A circuit breaker per cache (Nygard, *Release It!*): a cache that has just failed is left alone.

Without one, each request of a site whose cache hangs waits for the socket's timeout. With it, one
does; the rest go past the cache until the pause is over. Then it is tried in a thread beside the
requests: one of them waits for that, ``VIEWCACHE["FAULT_SECONDS"]`` at most. Only the read path is
spared: an expiry is always tried, because nobody may take it for done.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("viewcache")

#: Seconds of the first pause; each failed try doubles it.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
#: The name of the thread that tries.
THREAD = "viewcache-probe"
#: Seconds after which a try that never ended no longer keeps others from trying.
TRY_SECONDS = 30.0


class Breaker:
    """Whether one cache may be asked now. Times are of this process' monotonic clock."""

    __slots__ = ("_closed_again", "_lock", "_pause", "is_failing")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pause = 0.0
        self._closed_again = 0.0
        #: Has the cache failed, and not answered since?
        self.is_failing = False

    def allows(self, ask: Callable[[], object] | None, patience: float) -> bool:
        """
        May the cache be asked? After a pause, the first who asks this has it tried: by ``ask``, in
        a thread that is waited for so many seconds; without one, by going on alone.
        """
        if not self.is_failing:
            return True
        now = time.monotonic()
        with self._lock:
            if now < self._closed_again:
                return False
            self._closed_again = now + TRY_SECONDS
        if ask is None:
            return True
        trying = threading.Thread(target=self._try, args=(ask,), name=THREAD, daemon=True)
        try:
            trying.start()
        except RuntimeError:
            return True  # no more threads can be had
        trying.join(patience)
        return not self.is_failing

    def _try(self, ask: Callable[[], object]) -> None:
        try:
            ask()
        except Exception as error:
            logger.debug("The cache fails still (%s: %s).", type(error).__name__, error)
            self.failed()
        else:
            self.answered()

    def failed(self) -> None:
        """The cache did not answer."""
        with self._lock:
            self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            self._closed_again = time.monotonic() + self._pause
            self.is_failing = True

    def answered(self) -> None:
        """The cache answered."""
        with self._lock:
            self._pause = self._closed_again = 0.0
            self.is_failing = False


_breakers: dict[tuple[str | None, str], Breaker] = {}


def of(aliases: tuple[str | None, str]) -> Breaker:
    """The breaker of the caches with these aliases: that of pages, that of generations."""
    try:
        return _breakers[aliases]
    except KeyError:
        return _breakers.setdefault(aliases, Breaker())


def any_failing() -> bool:
    """Has a cache failed that has not answered since?"""
    return any(breaker.is_failing for breaker in list(_breakers.values()))


def reset() -> None:
    """Forget all failures; the settings have changed."""
    for breaker in list(_breakers.values()):
        breaker.answered()


def _renew_locks() -> None:
    """The process was forked: a thread that is not here any more may have held one."""
    for breaker in list(_breakers.values()):
        breaker._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
