"""Real servers for the tests: redis-server, valkey-server and memcached.

Each runs on a free port of the loopback interface, keeps nothing on disk, and dies with the
process that started it, however that ends: stopped at the end of the session, by Ctrl-C, or
by the kernel (PR_SET_PDEATHSIG) when the tests are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

READY_WITHIN = 60.0
HOST = "127.0.0.1"

# Not counted: opening a connection and asking for the counters.
UNCOUNTED = frozenset({"auth", "client", "config", "hello", "info", "quit", "select"})


class ServerMissingError(RuntimeError):
    """The server's program is not installed."""


class ServerFailedError(RuntimeError):
    """The server ended, or never answered; the message carries its log."""


@dataclass
class Server:
    """A running server, and what it was asked to do."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def location(self) -> str:
        """What a Django CACHES entry takes as LOCATION."""
        if self.kind == "memcached":
            return f"{HOST}:{self.port}"
        return f"redis://{HOST}:{self.port}"

    def ask(self, *lines: str) -> str:
        """Send raw protocol lines, return the whole answer (both servers close on `quit`)."""
        with socket.create_connection((HOST, self.port), timeout=60) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in (*lines, "quit")).encode())
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        return answer.decode()

    def flush(self) -> None:
        """Forget every entry."""
        self.ask("flush_all" if self.kind == "memcached" else "flushall")

    def commands(self) -> Counter[str]:
        """How often each command was received since the server started."""
        if self.kind == "memcached":
            return self._memcached_commands()
        counted: Counter[str] = Counter()
        for line in self.ask("info commandstats").splitlines():
            if line.startswith("cmdstat_"):
                name, _, rest = line.removeprefix("cmdstat_").partition(":")
                name = name.partition("|")[0]
                if name not in UNCOUNTED:
                    counted[name] += int(rest.partition("calls=")[2].partition(",")[0])
        return counted

    def _memcached_commands(self) -> Counter[str]:
        # get counts keys, not commands; set counts add and cas as well.
        counted: Counter[str] = Counter()
        for line in self.ask("stats").splitlines():
            _, _, stat = line.partition("STAT ")
            name, _, value = stat.partition(" ")
            if name.startswith("cmd_"):
                counted[name.removeprefix("cmd_")] += int(value)
            elif name in ("delete_hits", "delete_misses"):
                counted["delete"] += int(value)
        return counted

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Fill the counter with the commands that the block sent."""
        sent: Counter[str] = Counter()
        before = self.commands()
        yield sent
        sent.update(self.commands() - before)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _redis_command(port: int, folder: Path) -> list[str]:
    return [
        "--port",
        str(port),
        "--bind",
        HOST,
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
        "--daemonize",
        "no",
    ]


def _memcached_command(port: int, folder: Path) -> list[str]:
    # 256 MiB: a test that stores 100,000 variants is about expiry, not about eviction.
    command = ["-l", HOST, "-p", str(port), "-U", "0", "-m", "256"]
    return [*command, "-u", "root"] if os.geteuid() == 0 else command


_COMMANDS: dict[str, Callable[[int, Path], list[str]]] = {
    "redis": _redis_command,
    "valkey": _redis_command,
    "memcached": _memcached_command,
}
_PROGRAMS = {"redis": "redis-server", "valkey": "valkey-server", "memcached": "memcached"}


def _answers(server: Server) -> bool:
    with contextlib.suppress(OSError):
        if server.kind == "memcached":
            return server.ask("version").startswith("VERSION")
        return server.ask("ping").startswith("+PONG")
    return False


def _start(kind: str, program: str, folder: Path, port: int | None = None) -> Server:
    port = port or _free_port()
    log = folder / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *_COMMANDS[kind](port, folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Its own group, so that Ctrl-C reaches the tests first and they stop it in order.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    server = Server(kind, port, process, log)
    deadline = time.monotonic() + READY_WITHIN
    while not _answers(server):
        if process.poll() is not None or time.monotonic() > deadline:
            _stop(process)
            said = log.read_text(errors="replace")
            raise ServerFailedError(f"{program} on port {port} did not come up:\n{said}")
        time.sleep(0.01)
    return server


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def restarted(server: Server) -> None:
    """Kill this server and start it again, empty, on the same port."""
    program = shutil.which(_PROGRAMS[server.kind])
    assert program is not None
    server.process.kill()
    server.process.wait()
    server.process = _start(server.kind, program, server.log.parent, server.port).process


def installed(kind: str) -> bool:
    """Whether this machine has a server of this kind."""
    return shutil.which(_PROGRAMS[kind]) is not None


@contextlib.contextmanager
def running(kind: str) -> Iterator[Server]:
    """A server of this kind ("redis", "valkey", "memcached"), until the block ends."""
    program = shutil.which(_PROGRAMS[kind])
    if program is None:
        raise ServerMissingError(f"{_PROGRAMS[kind]} is not installed (`make servers`)")
    with tempfile.TemporaryDirectory(prefix="viewcache-") as name:
        try:
            server = _start(kind, program, Path(name))
        except ServerFailedError:
            # Between the probe and the server's own bind someone else may have taken the port.
            server = _start(kind, program, Path(name))
        try:
            yield server
        finally:
            _stop(server.process)
