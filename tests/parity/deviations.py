"""Where viewcache does on purpose what Django's own tests forbid: each test, and why.

The list is strict both ways: a test that fails and is not here fails the run, and so does a
test that is here and passes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """Some of Django's tests that viewcache fails on purpose."""

    tests: tuple[str, ...]
    modes: tuple[str, ...]
    reason: str


DEVIATIONS: tuple[Deviation, ...] = ()


def expected(mode: str) -> dict[str, str]:
    """The tests that must fail in this mode, with the reason."""
    return {
        test: deviation.reason
        for deviation in DEVIATIONS
        if mode in deviation.modes
        for test in deviation.tests
    }
