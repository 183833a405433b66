"""A real PostgreSQL for the tests: a cluster of its own in a temporary folder, gone afterwards.

PostgreSQL refuses to run as root; started by root (as in a container) it runs as ``postgres``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from servers import ServerFailedError, ServerMissingError, _die_with_parent, _free_port, _stop

#: Where Debian keeps the programs that are not on the path.
DEBIAN = Path("/usr/lib/postgresql")
READY_WITHIN = 30.0
USER = "postgres"
#: Nothing of this outlives the tests, so nothing has to reach the disk.
OPTIONS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60"]


def folder_of_programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are, the newest of them."""
    versions = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def _become() -> Callable[[], None]:
    """What a child process of root's does first."""
    if os.geteuid() != 0:
        return _die_with_parent
    user = pwd.getpwnam(USER)

    def drop() -> None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        # Last: changing the user takes it back.
        _die_with_parent()

    return drop


def _answers(port: int) -> bool:
    try:
        run(f"postgresql://{USER}@127.0.0.1:{port}", "SELECT 1")
    except OSError:
        return False
    except Exception as error:
        if "refused" in str(error) or "starting up" in str(error):
            return False
        raise
    return True


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """``postgresql://user@host:port`` of a running server with one empty database, ``shop``."""
    programs = folder_of_programs()
    if programs is None:
        raise ServerMissingError("postgresql is not installed (`make servers`)")
    with tempfile.TemporaryDirectory(prefix="viewcache-pg-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        child: dict[str, Any] = {"preexec_fn": _become(), "cwd": "/", "env": {"LC_ALL": "C"}}
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            **child,
        )
        port = _free_port()
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *OPTIONS]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    programs / "postgres",
                    *("-D", data, "-p", str(port)),
                    *(part for option in options for part in ("-c", option)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **child,
            )
        try:
            deadline = time.monotonic() + READY_WITHIN
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ServerFailedError(log.read_text(errors="replace"))
                time.sleep(0.05)
            yield f"postgresql://{USER}@127.0.0.1:{port}"
        finally:
            # SIGINT is its fast shutdown: it does not wait for those who are connected.
            process.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            _stop(process)


def run(url: str, statement: str) -> None:
    """Run a statement outside of any transaction, in the maintenance database."""
    import psycopg

    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
