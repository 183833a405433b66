"""The example blog under gunicorn and under uvicorn, and what lies in the cache that they share."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import psutil
from servers import HOST, Server

TESTS = Path(__file__).resolve().parents[1]
BLOG = TESTS.parent / "examples" / "blog"
WORKERS = 2
#: Seconds in which a server has to come up, on a machine that has other things to do.
READY_WITHIN = 180

COMMANDS = {
    "gunicorn": ["-w", f"{WORKERS}", "--threads", "2", "-b", f"{HOST}:{{port}}", "mysite.wsgi"],
    "uvicorn": [
        *("--workers", f"{WORKERS}", "--host", HOST, "--port", "{port}"),
        *("--log-level", "warning", "--no-access-log", "mysite.asgi:application"),
    ],
}


def environment(cache: Server, folder: Path) -> dict[str, str]:
    """The blog's: this cache, and a database in this folder."""
    scheme = "memcached://" if cache.kind == "memcached" else ""
    return {
        "DJANGO_SETTINGS_MODULE": "soak.settings",
        "BLOG_CACHE": "viewcache",
        "BLOG_DATABASE": str(folder / "blog.sqlite3"),
        "CACHE_URL": scheme + cache.location,
        "PYTHONPATH": f"{BLOG}{os.pathsep}{TESTS}",
    }


@contextlib.contextmanager
def serving(name: str, folder: Path, variables: dict[str, str]) -> Iterator[tuple[int, list[int]]]:
    """The port of this server, and the ids of its workers."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    words = [word.format(port=port) for word in COMMANDS[name]]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / name, *words],
            cwd=BLOG,
            env={**os.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        _wait(port, process, folder / f"{name}.log")
        yield port, _workers(process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        # Not SIGKILL: it has workers to end.
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=5):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The server did not come up:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _workers(process: subprocess.Popen[bytes]) -> list[int]:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        found = [
            child.pid
            for child in psutil.Process(process.pid).children(recursive=True)
            if "resource_tracker" not in " ".join(child.cmdline())
        ]
        if len(found) == WORKERS:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(found)} workers came up, and {WORKERS} were asked for.")
        time.sleep(0.1)


def memory(workers: list[int]) -> int:
    """Bytes that are these processes' own and no other's."""
    return sum(psutil.Process(pid).memory_full_info().uss for pid in workers)


def number_of_keys(cache: Server) -> int:
    """How many entries the cache holds."""
    if cache.kind == "memcached":
        return int(re.findall(r"STAT curr_items (\d+)", cache.ask("stats"))[0])
    return int(cache.ask("dbsize").split()[0].removeprefix(":"))


def evict(cache: Server, number: int) -> int:
    """Take so many entries out of the cache, any; returns how many there were to take."""
    if cache.kind == "memcached":
        listed = re.findall(r"^key=(\S+)", _listing(cache), re.MULTILINE)
        keys = [unquote(key) for key in listed[:: max(1, len(listed) // number)]][:number]
        words = "delete"
    else:
        told = cache.ask(*["randomkey"] * number).splitlines()
        keys = [line for line in told if ":viewcache." in line]
        words = "del"
    if keys:
        cache.ask(*(f"{words} {key}" for key in keys))
    return len(keys)


def _listing(cache: Server) -> str:
    """What Memcached says of all that it holds. It does not listen for `quit` meanwhile."""
    with socket.create_connection((HOST, cache.port), timeout=30) as connection:
        connection.sendall(b"lru_crawler metadump all\r\n")
        said = b""
        while not said.endswith((b"END\r\n", b"busy\r\n", b"BUSY\r\n")):
            part = connection.recv(1 << 16)
            if not part:
                break
            said += part
    return said.decode(errors="replace")
