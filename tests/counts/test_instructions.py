"""
How many instructions the core takes: what makes a request slower shows here, however busy the
machine is.

Counted by callgrind, which runs the program on a processor of its own making (it has none of the
instructions for SHA-256, for one): nearly the same figures on every machine of one architecture, as
long as the compiler is the same. How to renew them is in CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_CI = os.environ.get("CI") == "true"

#: More than these, times `ROOM`, is a regression.
BOUNDS = {
    "page key/0 cookies": 30_356,
    "page key/6 cookies": 40_069,
    "page key/20 cookies": 78_699,
    "Django's key/6 cookies": 6_075,
    "canonical cookies/6": 4_525,
    "canonical cookies/20": 15_622,
    "encode a record/2 KB": 3_327,
    "decode a record/2 KB": 4_163,
    "its checksum/2 KB": 1_204,
    "encode a record/20 KB": 31_685,
    "decode a record/20 KB": 12_239,
    "its checksum/20 KB": 9_556,
    "encode a record/200 KB": 299_537,
    "decode a record/200 KB": 95_759,
    "its checksum/200 KB": 93_076,
    "verdict/6 generations": 402,
    "recipe memory/look-up": 689,
    "look-up/a hit of 20 KB": 61_926,
    "look-up/a hit with 30 tags": 145_619,
    "look-up/a hit with 240 tags": 705_265,
}
#: What another compiler, allocator or library may take more.
ROOM = 1.5
#: Instructions of a decoding that may hang on the size of a body without being its checksum.
SLACK = 1_000


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The instructions of each work of ``benches/work``, by its name."""
    missing = [program for program in ("valgrind", "cargo") if not shutil.which(program)]
    if missing:
        why = f"not installed: {', '.join(missing)} (`make servers` installs valgrind)"
        if IN_CI:
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"the bounds are those of x86_64, this is {platform.machine()}")
    folder = tmp_path_factory.mktemp("counts")
    build = ["cargo", "build", "--quiet", "--locked", "--profile", "counts"]
    build += ["--no-default-features", "--features", "counts", "--bin", "counts"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    # Each call of `counted` ends a part of the outcome, which has a file of its own.
    count = ["valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={folder}/part"]
    count += ["--toggle-collect=counts::counted", "--dump-after=counts::counted"]
    program = target / "counts" / "counts"
    ran = subprocess.run([*count, program], stdout=subprocess.PIPE, text=True, check=True)
    names = ran.stdout.splitlines()
    return {name: _total(folder / f"part.{at}") for at, name in enumerate(names, 1)}


def _total(part: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", part.read_text(), re.MULTILINE)
    assert found, f"{part} has no total"
    return int(found[1])


def test_no_work_takes_many_more_instructions(counts: dict[str, int]) -> None:
    table = [f'    "{name}": {count:_},' for name, count in counts.items()]
    print("\n".join(table))  # noqa: T201 (for whoever renews the bounds)
    assert list(counts) == list(BOUNDS), "benches/work has other work than is bounded here"
    more = {
        name: f"{count:,}, {count / BOUNDS[name]:.2f} times as many as the bound was made for"
        for name, count in counts.items()
        if count > ROOM * BOUNDS[name]
    }
    assert not more, f"see CONTRIBUTING.md on how to renew the bounds: {more}"


def test_a_decoding_reads_the_body_for_its_checksum_only(counts: dict[str, int]) -> None:
    def growth(work: str) -> int:
        return counts[f"{work}/200 KB"] - counts[f"{work}/2 KB"]

    assert growth("decode a record") < growth("its checksum") + SLACK


def test_each_tag_costs_a_hit_the_same(counts: dict[str, int]) -> None:
    none, few, many = (
        counts[f"look-up/a hit {what}"] for what in ("of 20 KB", "with 30 tags", "with 240 tags")
    )
    assert (many - few) / 210 < ROOM * (few - none) / 30
