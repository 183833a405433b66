"""The servers and the backend fixture themselves: what other tests take for granted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from backends import Backend
from servers import installed, running

KINDS = [kind for kind in ("redis", "valkey", "memcached") if installed(kind)]


def test_the_backend_is_empty_and_keeps_what_it_is_given(backend: Backend) -> None:
    assert backend.cache.get_many(["a", "b"]) == {}
    backend.cache.set_many({"a": 1, "b": 2})
    assert backend.cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_redis_counts_commands(backend: Backend) -> None:
    backend.cache.get("connect")
    with backend.counting() as sent:
        backend.cache.get_many([f"key-{number}" for number in range(50)])
        backend.cache.set("a", 1)
        backend.cache.set("b", 1)
    assert sent == {"mget": 1, "set": 2}


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
def test_memcached_counts_keys_read_and_entries_written(backend: Backend) -> None:
    with backend.counting() as sent:
        backend.cache.get_many(["a", "b", "c"])
        backend.cache.set("a", 1)
        backend.cache.delete("a")
    assert sent == {"get": 3, "set": 1, "delete": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_is_stopped_with_its_block(kind: str) -> None:
    with running(kind) as server:
        assert psutil.pid_exists(server.process.pid)
    assert not psutil.pid_exists(server.process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_does_not_outlive_tests_that_are_killed(kind: str) -> None:
    program = (
        "import servers, time\n"
        f"with servers.running({kind!r}) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, stdout=subprocess.PIPE
    ) as tests:
        assert tests.stdout is not None
        server = int(tests.stdout.readline())
        os.kill(tests.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _runs(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(server)


def _runs(pid: int) -> bool:
    try:
        # Where nothing reaps orphans, a dead one stays as a zombie.
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return status != psutil.STATUS_ZOMBIE
