"""Real databases for the tests: PostgreSQL and MariaDB, each in a temporary folder of its own.

Both refuse to run as root; started by root (as in a container) each runs as its package's user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from servers import ServerFailedError, ServerMissingError, _die_with_parent, _free_port, _stop

#: Where Debian keeps the programs that are not on the path.
DEBIAN = Path("/usr/lib/postgresql")
READY_WITHIN = 120.0
USER = "postgres"
MARIADB_USER = "mysql"
#: Nothing of this outlives the tests, so nothing has to reach the disk.
MARIADB_OPTIONS = [
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-buffer-pool-size=32M",
    # Who waits for a lock longer than this has met another who waits for him.
    "--innodb-lock-wait-timeout=5",
    "--lock-wait-timeout=5",
    "--character-set-server=utf8mb4",
]
#: Root without a password, and nobody else.
_BARE = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
OPTIONS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60"]


def folder_of_programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are, the newest of them."""
    versions = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def _become(name: str) -> Callable[[], None]:
    """What a child process of root's does first."""
    if os.geteuid() != 0:
        return _die_with_parent
    user = pwd.getpwnam(name)

    def drop() -> None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        # Last: changing the user takes it back.
        _die_with_parent()

    return drop


@contextlib.contextmanager
def _running(command: list[Any], user: str, url: str, folder: Path, stop: int) -> Iterator[str]:
    """The URL of the server that this command starts, once it answers there."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **_child(user),
        )
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailedError(log.read_text(errors="replace"))
            time.sleep(0.05)
        yield url
    finally:
        process.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        _stop(process)


def _child(user: str) -> dict[str, Any]:
    return {"preexec_fn": _become(user), "cwd": "/", "env": {"LC_ALL": "C", "PATH": os.defpath}}


def _answers(url: str) -> bool:
    try:
        run(url, "SELECT 1")
    except OSError:
        return False
    except Exception as error:
        if "refused" in str(error) or "starting up" in str(error):
            return False
        raise
    return True


@contextlib.contextmanager
def _folder(user: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="viewcache-db-") as name:
        if os.geteuid() == 0:
            shutil.chown(name, user)
        yield Path(name)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """``postgresql://user@host:port`` of a running server."""
    programs = folder_of_programs()
    if programs is None:
        raise ServerMissingError("postgresql is not installed (`make servers`)")
    with _folder(USER) as folder:
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            **_child(USER),
        )
        port = _free_port()
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *OPTIONS]
        command = [
            programs / "postgres",
            *("-D", data, "-p", str(port)),
            *(part for option in options for part in ("-c", option)),
        ]
        url = f"postgresql://{USER}@127.0.0.1:{port}"
        # SIGINT is its fast shutdown: it does not wait for those who are connected.
        with _running(command, USER, url, folder, signal.SIGINT):
            yield url


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """``mysql://user@host:port`` of a running server."""
    server, install = shutil.which("mariadbd", path=_PATH), shutil.which("mariadb-install-db")
    if server is None or install is None:
        raise ServerMissingError("mariadb-server is not installed (`make servers`)")
    with _folder(MARIADB_USER) as folder:
        data = folder / "data"
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", *_BARE],
            check=True,
            stdout=subprocess.DEVNULL,
            **_child(MARIADB_USER),
        )
        port = _free_port()
        command = [
            server,
            "--no-defaults",
            f"--datadir={data}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--socket={folder / 'socket'}",
            *MARIADB_OPTIONS,
        ]
        url = f"mysql://root@127.0.0.1:{port}"
        with _running(command, MARIADB_USER, url, folder, signal.SIGTERM):
            yield url


def run(url: str, statement: str) -> None:
    """Run a statement outside of any transaction, in the maintenance database."""
    parts = urlsplit(url)
    if parts.scheme == "mysql":
        import pymysql

        with pymysql.connect(
            host=parts.hostname, port=parts.port or 0, user=parts.username, database="mysql"
        ) as connected:
            connected.cursor().execute(statement)
        return
    import psycopg

    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
