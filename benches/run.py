"""
Measure viewcache against stock Django and other page caches, in one run, as ratios.

    python benches/run.py --quick                  under a minute
    python benches/run.py --json out.json          the whole suite
    python benches/run.py --docs                   and write docs/performance.md from it
    python benches/run.py --only hit expiry
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import machine  # noqa: E402
import project  # noqa: E402
import report  # noqa: E402
from servers import Server, installed, running  # noqa: E402

CASES = ("keys", "hit", "store", "expiry", "tracked", "import", "throughput")
DOCS = HERE.parent / "docs" / "performance.md"


def main() -> None:
    """The command."""
    options = _options()
    with ExitStack() as stack:
        servers: dict[str, Server | None] = {"locmem": None}
        for kind, client in (("redis", "redis"), ("memcached", "pymemcache")):
            if installed(kind) and project.has(client):
                servers[kind] = stack.enter_context(running(kind))
            else:
                print(f"left out: {kind} (its server or its client is not installed)")
        project.set_up(
            {kind: server.location if server else "" for kind, server in servers.items()}
        )
        rows = list(_measure(options, servers))
    print("\n".join(["", *report.verdicts(rows)]))
    result = {"machine": machine.described(), "quick": options.quick, "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.docs:
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(report.page(result))


def _measure(options: argparse.Namespace, servers: dict[str, Server | None]):
    import cases
    import throughput

    rounds = 15 if options.quick else 41
    sizes = [20] if options.quick else [2, 20, 200]
    # Each variant is stored in the cache first: that is most of the time.
    counts = [1, 1000] if options.quick else [1, 1000, 100_000]
    suites = {
        "keys": lambda: cases.keys(rounds),
        "hit": lambda: cases.pages(servers, rounds, sizes, "hit"),
        "store": lambda: cases.pages(servers, rounds, sizes, "miss and store"),
        "expiry": lambda: cases.expiry(servers, rounds, counts),
        "tracked": lambda: cases.tracked(rounds),
        "import": lambda: cases.start(rounds),
        "throughput": lambda: throughput.rates(
            servers, 4 if options.quick else 9, 2 if options.quick else 3
        ),
    }
    # Servers take their time to start: that is no quick run.
    usual = [name for name in CASES if not (options.quick and name == "throughput")]
    for name in options.only or usual:
        for row in suites[name]():
            print(report.line(row), flush=True)
            yield row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, one size")
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
