"""
The request that a visitor would send, without a server: for commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.urls import get_urlconf, set_urlconf
from django.utils import timezone, translation


def request_for(
    url: str,
    *,
    cookie: str | None = None,
    headers: Iterable[str] = (),
    host: str | None = None,
    method: str = "GET",
) -> WSGIRequest:
    """
    A request of this path or full URL, with these headers (``"Name: value"``).

    Raises ``ValueError`` for what is no URL or header.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}.") from error
    if parts.scheme not in ("", "http", "https") or not (parts.path or parts.netloc):
        raise ValueError(f"{url!r} is no URL of this site. Give a path such as /blog/.")
    if not parts.netloc and not parts.path.startswith("/"):
        raise ValueError(f"{url!r} is a relative path. Begin it with a slash.")
    if bool(parts.netloc) != bool(parts.scheme):
        raise ValueError(f"{url!r} has no scheme. Give https://{parts.netloc}{parts.path}.")
    scheme = parts.scheme or _scheme()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        # WSGI hands over the bytes of a path as latin-1.
        "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname or "localhost",
        "SERVER_PORT": str(port or (443 if scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host or parts.netloc.rpartition("@")[2] or _first_host(),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(),
    }
    if scheme == "https" and settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        environ[name] = value
    for line in headers:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{line!r} is no header. Give 'Name: value'.")
        name = name.strip().upper().replace("-", "_")
        plain = name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        environ[name if plain else f"HTTP_{name}"] = value.strip()
    if cookie is not None:
        environ["HTTP_COOKIE"] = cookie
    return WSGIRequest(environ)


@contextmanager
def afresh() -> Iterator[None]:
    """Language, time zone and URLs as at the start of a request; put back at the end."""
    urlconf = get_urlconf()
    with translation.override(translation.get_language()), timezone.override(None):
        translation.deactivate()
        set_urlconf(settings.ROOT_URLCONF)
        try:
            yield
        finally:
            set_urlconf(urlconf)


def _scheme() -> str:
    """The scheme that visitors use, as far as the settings tell."""
    secure = settings.SECURE_SSL_REDIRECT or settings.SECURE_PROXY_SSL_HEADER
    return "https" if secure else "http"


def _first_host() -> str:
    """A host that the site answers to."""
    for host in settings.ALLOWED_HOSTS:
        if host != "*":
            return str(host).lstrip(".")
    return "localhost"
