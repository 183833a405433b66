"""
    python -m storm --server redis --steps 1000000 --seed 1

Prints what was counted; ends with an error, and the seed that replays it, at the first old page and
at the first answer that belongs to another visitor.
"""

from __future__ import annotations

import argparse
import secrets
import time

from storm.conductor import storm


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--server", choices=("redis", "memcached", "valkey"), required=True)
    words.add_argument("--steps", type=int, default=1_000_000)
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--break", dest="is_broken", action="store_true", help="write no expiry")
    asked = words.parse_args()
    seed = secrets.randbelow(1 << 32) if asked.seed is None else asked.seed
    print(f"{asked.server}: seed {seed}", flush=True)
    begun = time.monotonic()
    counts, digest = storm(asked.server, seed, asked.steps, is_broken=asked.is_broken)
    told = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    print(f"{asked.server}: {told}; 0 old pages, 0 leaks; {digest[:12]}")
    print(f"{asked.server}: {time.monotonic() - begun:.0f} seconds")


if __name__ == "__main__":
    main()
