"""Time several contenders in turn, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import Any

#: A batch lasts about this long, so that the clock and a switch of contenders do not count.
BATCH_SECONDS = 0.006


@dataclass(frozen=True)
class Contender:
    """Something to time."""

    #: Makes the arguments of one call; not timed.
    prepare: Callable[[], Any]
    call: Callable[[Any], Any]
    #: What has to be in force while it runs.
    within: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    #: It waits for nothing, so the time of the processor is its time, whatever else runs.
    is_alone: bool = False


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


def interleaved(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds per call, one value for each round; the order turns with the rounds."""
    sizes = {name: _batch_size(contender) for name, contender in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for _ in range(rounds):
        for name in names:
            times[name].append(_batch(contenders[name], sizes[name]))
        names.append(names.pop(0))
    return times


def ratios(of: list[float], over: list[float]) -> Spread:
    """How many times as long one takes as the other, round by round."""
    return Spread.of([mine / theirs for mine, theirs in zip(of, over, strict=True)])


def _batch_size(contender: Contender) -> int:
    _batch(contender, 3)
    return max(3, min(2000, int(BATCH_SECONDS / max(_batch(contender, 3), 1e-7))))


def _batch(contender: Contender, size: int) -> float:
    call, clock = contender.call, thread_time if contender.is_alone else perf_counter
    with contender.within():
        # A process in its stride: settings are read, connections are open where they stay so.
        for _ in range(2):
            call(contender.prepare())
        arguments = [contender.prepare() for _ in range(size)]
        gc.collect()
        gc.disable()
        try:
            began = clock()
            for argument in arguments:
                call(argument)
            return (clock() - began) / size
        finally:
            gc.enable()
