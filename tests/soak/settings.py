"""The example blog's settings, with clients that wait as docs/how-to.md has them."""

from typing import Any

from mysite.settings import *  # noqa: F403
from mysite.settings import CACHES as BLOGS

DEBUG = False
OPTIONS: dict[str, Any]
if "redis" in BLOGS["default"]["BACKEND"]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    OPTIONS = {
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
        "retry": Retry(NoBackoff(), 0),
    }
else:
    OPTIONS = {"timeout": 1, "connect_timeout": 1, "retry_attempts": 0, "dead_timeout": 1}
CACHES = {"default": {**BLOGS["default"], "OPTIONS": OPTIONS}}
