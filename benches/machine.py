"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "django-viewcache",
    "Django",
    "django-fancy-cache",
    "wagtail-cache",
    "redis",
    "django-redis",
    "django-vcache",
    "pymemcache",
    "gunicorn",
    "granian",
    "uvicorn",
)
SERVERS = ("redis-server", "memcached")


def described() -> dict[str, str]:
    """Processor, system and versions, by name."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "processes that wanted them": f"{os.getloadavg()[0]:.0f} on average in the last minute",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for server in SERVERS:
        found |= _server(server)
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _server(name: str) -> dict[str, str]:
    try:
        said = subprocess.check_output([name, "--version"], text=True).split()
    except OSError:
        return {}
    # "Redis server v=7.0.15 sha=…", "memcached 1.6.18"
    numbers = [word.removeprefix("v=") for word in said if word.removeprefix("v=")[:1].isdigit()]
    return {name: numbers[0]} if numbers else {}
