"""A TCP proxy between a site and its cache, which does to the connection what a test tells it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

HOST = "127.0.0.1"
PART = 1 << 16

#: "pass": as if it were not there. "refuse": nothing listens. "reset": connections are closed as
#: soon as they are made. "hang": what is asked is taken, and nothing is answered. "half": of each
#: answer the first half arrives, then the connection is closed.
Mode = Literal["pass", "refuse", "reset", "hang", "half"]


class Proxy:
    """Forwards from a port of its own to the server's, in the mode that is set."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._mode: Mode = "pass"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self._listener: socket.socket | None = None
        self._listen()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """From now on. Connections that are open are closed, except where they are to hang."""
        self._mode = mode
        if mode == "refuse":
            self._stop_listening()
        elif self._listener is None:
            self._listen()
        if mode != "hang":
            self._close_all()

    def close(self) -> None:
        self._stop_listening()
        self._close_all()

    def _listen(self) -> None:
        listener = socket.create_server((HOST, self.port), backlog=128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            # Closing alone would not wake the thread that waits in accept().
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _close_all(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                if self._mode == "reset":
                    connection.close()
                    continue
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection((HOST, self._server)) as server,
        ):
            with self._lock:
                self._open |= {client, server}
            answers = threading.Thread(target=self._answer, args=(server, client), daemon=True)
            answers.start()
            while part := client.recv(PART):
                # What hangs takes the question: it never comes to the server.
                if self._mode != "hang":
                    server.sendall(part)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := server.recv(PART):
                if self._mode == "hang":
                    continue
                if self._mode == "half":
                    client.sendall(part[: len(part) // 2])
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(part)
            client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def between(server: int) -> Iterator[Proxy]:
    """A proxy to this port, until the block ends."""
    proxy = Proxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
