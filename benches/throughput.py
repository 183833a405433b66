"""Requests per second under real servers, each site in turn, asked by ``wrk``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import project
import targets
from measure import Spread, ratios
from servers import Server

Row = dict[str, Any]
HERE = Path(__file__).resolve().parent
WORKERS = 2
HOST = "127.0.0.1"


class Kind(NamedTuple):
    """A server: its command, and how many connections it is asked by."""

    command: list[str]
    connections: int
    is_async: bool = False


SERVERS = {
    "gunicorn": Kind(["gunicorn", "-w", f"{WORKERS}", "-b", "{address}", "served:application"], 16),
    "granian": Kind(
        [
            *("granian", "--interface", "wsgi", "--workers", f"{WORKERS}", "--no-access-log"),
            *("--host", HOST, "--port", "{port}", "served:application"),
        ],
        16,
    ),
    "uvicorn": Kind(
        [
            *("uvicorn", "--workers", f"{WORKERS}", "--log-level", "error", "--no-access-log"),
            *("--host", HOST, "--port", "{port}", "served:aapplication"),
        ],
        100,
        is_async=True,
    ),
}
#: Which sites are asked on which backend; the bare view and that without Django need
#: none.
SITES = [
    ("no Django", "locmem"),
    ("bare", "locmem"),
    ("django", "locmem"),
    ("viewcache", "locmem"),
    ("viewcache, early hits", "locmem"),
    ("django", "redis"),
    ("django, default middleware", "redis"),
    ("viewcache", "redis"),
    ("viewcache", "django-vcache"),
    ("viewcache, early hits", "django-vcache"),
]


class Site(NamedTuple):
    """A site that is being served."""

    url: str
    #: The server's process: its workers are below it.
    process: int


def rates(servers: dict[str, Server | None], rounds: int, seconds: int) -> Iterator[Row]:
    """
    Requests per second, as ratios over the bare view of the same round.

    So many rounds are for the sites that a target asks for; the others take part in a third.
    """
    if shutil.which("wrk") is None:
        print("left out: requests per second (wrk is not installed)")
        return
    for name, kind in SERVERS.items():
        if not (Path(sys.executable).parent / kind.command[0]).exists():
            print(f"left out: {name} (not installed)")
            continue
        sites = [site for site in SITES if _is_there(site[1], servers)]
        asked_for = targets.sites(name)
        #: By the number of the round.
        found: dict[tuple[str, str], dict[int, float]] = {site: {} for site in sites}
        for number in range(rounds):
            for site in sites:
                if site in asked_for or number % 3 == 0:
                    with serving(kind, *site, _location(site[1], servers)) as served:
                        found[site][number] = _rate(served.url, kind.connections, seconds)
            sites.append(sites.pop(0))
        bare = found["bare", "locmem"]
        stock = found.get(("django, default middleware", "redis"))
        for (site, backend), rate in found.items():
            row = {
                "case": "requests/s",
                "server": name,
                "package": site,
                "backend": backend,
                "rate": asdict(Spread.of(list(rate.values()))),
                "over_bare": asdict(_ratios(rate, bare)),
            }
            if stock is not None:
                row["over_stock"] = asdict(_ratios(rate, stock))
            yield row


def _ratios(of: dict[int, float], over: dict[int, float]) -> Spread:
    """Over the other in the rounds in which both took part."""
    both = of.keys() & over.keys()
    return ratios([of[number] for number in both], [over[number] for number in both])


def _is_there(backend: str, servers: dict[str, Server | None]) -> bool:
    group = project.group_of(backend)
    return group in servers and project.has(project.BACKENDS[group][backend])


def _location(backend: str, servers: dict[str, Server | None]) -> str:
    server = servers[project.group_of(backend)]
    if server is None:
        return ""
    server.flush()
    return server.location


@contextmanager
def serving(kind: Kind, site: str, backend: str, location: str) -> Iterator[Site]:
    """A server of this kind, until the end of the block."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [word.format(address=f"{HOST}:{port}", port=port) for word in kind.command]
    process = subprocess.Popen(
        [Path(sys.executable).parent / command[0], *command[1:]],
        cwd=HERE,
        env={
            **os.environ,
            "BENCH_SITE": site,
            "BENCH_CACHE": f"{backend}={location}",
            "BENCH_ASYNC": "1" if kind.is_async else "0",
            "PYTHONPATH": str(HERE),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://{HOST}:{port}/blog/posts/1/"
    try:
        _wait(url, process)
        yield Site(url, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                assert len(answer.read()) == 20 * 1024
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def asking(url: str, connections: int, seconds: int) -> list[str]:
    """The command that asks for this page."""
    return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]


def _rate(url: str, connections: int, seconds: int) -> float:
    """Requests per second, after a second in which every worker comes to know the page."""
    for duration in (1, seconds):
        said = subprocess.check_output(asking(url, connections, duration), text=True)
    if wrong := re.search(r"Non-2xx or 3xx responses: \d+", said):
        raise RuntimeError(f"{url}: {wrong[0]}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])
