"""The table of the battery, made of what its tests came to."""

from __future__ import annotations

from collections import defaultdict

from battery.cases import CASES, GROUPS, not_applicable

#: What stands over a column, for the backends that it stands for.
COLUMNS = {
    "locmem": ("locmem",),
    "file": ("file",),
    "database": ("db",),
    "Redis": ("redis", "valkey", "django-redis", "django-vcache"),
    "Memcached": ("memcached",),
}

HEAD = """\
# The battery

Inputs, attacks and faults that a page cache meets, each tried on each of Django's caches. This
page is written by the tests themselves (`make pytest ARGS=tests/battery`), and a run that comes to
anything else fails. Where Valkey, django-redis or django-vcache is installed, it has to pass
wherever Redis does.

"pass": every test of the case passed on that cache. A dash: the case does not concern that cache.
What does not apply at all has its reason in
[the security page](security.md#cases-that-do-not-apply).
"""


class Results:
    """What the tests of each case came to on each backend."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[int, str], set[str]] = defaultdict(set)

    def add(self, case: int, backend: str, outcome: str) -> None:
        self._outcomes[case, backend].add(outcome)

    def cell(self, case: int, backends: tuple[str, ...]) -> str:
        found = set().union(*(self._outcomes.get((case, name), set()) for name in backends))
        if "failed" in found:
            return "**fail**"
        return "pass" if "passed" in found else "-"

    @property
    def cases(self) -> set[int]:
        return {case for case, _ in self._outcomes}

    @property
    def skipped(self) -> set[str]:
        """The backends of which a test was skipped: their server is not installed."""
        return {name for (_, name), outcomes in self._outcomes.items() if "skipped" in outcomes}

    def page(self) -> str:
        """The whole page."""
        reasons = not_applicable()
        lines = [HEAD]
        for number, title in CASES.items():
            if number in GROUPS:
                lines += [f"\n## {GROUPS[number]}\n", f"| | case | {' | '.join(COLUMNS)} |"]
                lines.append("| --- | --- |" + " --- |" * len(COLUMNS))
            cells = [self.cell(number, names) for names in COLUMNS.values()]
            if number in reasons and number not in self.cases:
                cells = ["not applicable"] * len(COLUMNS)
            lines.append(f"| {number} | {title} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"
