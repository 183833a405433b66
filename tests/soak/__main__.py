"""
    python -m soak --server redis --minutes 10

The example blog under gunicorn and uvicorn, two workers each, on one cache server that loses
entries and restarts. Prints what was counted; ends with 1 at a page that is older than an
acknowledged expiry, at one of another visitor's, at any status but 200, and where memory or keys
grow.
"""

from __future__ import annotations

import argparse
import sys

from soak.conductor import soak
from soak.site import WORKERS


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--server", choices=("redis", "memcached", "valkey"), default="redis")
    words.add_argument("--minutes", type=float, default=10)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--break", dest="is_broken", action="store_true", help="write no expiry")
    asked = words.parse_args()
    found = soak(asked.server, asked.minutes * 60, asked.seed, is_broken=asked.is_broken)
    for name, number in found.counts.items():
        print(f"{asked.server}: {number} {name}")
    for name, grown in found.growth().items():
        first = found.memory[name][len(found.memory[name]) // 4]
        print(
            f"{asked.server}: {WORKERS} workers of {name}: {first / 2**20:.1f} MiB after a quarter "
            f"of the time, {grown / 2**20:+.1f} MiB at the end"
        )
    print(f"{asked.server}: keys at most, between the restarts: {found.keys}")
    print(f"{asked.server}: {len(found.violations)} violations")
    for wrong in found.judged()[:20]:
        print(wrong, file=sys.stderr)
    return int(bool(found.judged()))


if __name__ == "__main__":
    sys.exit(main())
