"""Settings that arrive as URLs in environment variables."""

from urllib.parse import SplitResult, unquote, urlsplit

DATABASE_ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
}

CACHE_BACKENDS = {
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "rediss": "django.core.cache.backends.redis.RedisCache",
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
    "file": "django.core.cache.backends.filebased.FileBasedCache",
    "db": "django.core.cache.backends.db.DatabaseCache",
    "dummy": "django.core.cache.backends.dummy.DummyCache",
}

MAX_ENTRIES = 100_000  # where Django counts them itself; its own 300 is a handful of visitors


def database(url: str) -> dict:
    """One of DATABASES: ``postgres://user:password@host:5432/name``."""
    parts = urlsplit(url)
    return {
        "ENGINE": _choose(DATABASE_ENGINES, parts),
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


def cache(url: str) -> dict:
    """One of CACHES: ``redis://127.0.0.1:6379/0``, ``memcached://127.0.0.1:11211``, ``locmem://``."""
    parts = urlsplit(url)
    backend = _choose(CACHE_BACKENDS, parts)
    match parts.scheme:
        case "redis" | "rediss":
            location = url
        case "file":
            location = unquote(parts.path)
        case "memcached":
            location = parts.netloc.split(",")
        case _:
            location = parts.netloc
    options = {"MAX_ENTRIES": MAX_ENTRIES} if parts.scheme in {"locmem", "file", "db"} else {}
    return {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}


def _choose(known: dict[str, str], parts: SplitResult) -> str:
    try:
        return known[parts.scheme]
    except KeyError:
        schemes = ", ".join(f"{scheme}://" for scheme in known)
        raise ValueError(f"{parts.scheme}:// is not known here; use one of {schemes}") from None
