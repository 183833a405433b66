"""
Who expires, and why: told from the frames of the code that runs.

Nothing is asked for that would be work of its own: the user is named only where the request has
loaded it already, and no lazy object is woken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from django.core.management.base import BaseCommand
from django.db.models import Manager, Model, QuerySet
from django.http import HttpRequest

#: Characters of a statement, a name or a place that are kept.
_KEPT = 300


class Cause(NamedTuple):
    """Why something is expired."""

    #: The user, request, command or process.
    who: str
    #: What it did: ``blog.Post 12: save()``, ``blog.Post: update()``, ``SQL``, ``expire()``.
    why: str
    #: The file and line of the site's own code, where there is any.
    where: str
    #: The statement as the database was sent it, without its parameters.
    statement: str


def cause(statement: str = "") -> Cause:
    """The cause of what the calling code does now."""
    frames = list(_frames())
    return Cause(
        *(
            text[:_KEPT]
            for text in (_who(frames), _why(frames, statement), _where(frames), statement)
        )
    )


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_ours(frame: FrameType) -> bool:
    """Is it Django's, viewcache's or Python's own?"""
    root = _module(frame).partition(".")[0]
    return root in ("django", "viewcache", "asgiref") or root in sys.stdlib_module_names


# -- Who ------------------------------------------------------------------------------------------


def _who(frames: list[FrameType]) -> str:
    """The innermost request, else the command, else the program."""
    road = ""
    for frame in frames:
        module = _module(frame)
        if module.startswith("django.contrib.admin"):
            road = "admin, "
        # The site's own locals may be anything; Django's handlers have the request, too.
        request = frame.f_locals.get("request") if module.startswith("django.") else None
        if isinstance(request, HttpRequest):
            return road + _visitor(request)
    for frame in frames:
        if _is_prompt(frame):
            return "shell"
        command = frame.f_locals.get("self") if _module(frame).startswith("django.core") else None
        if isinstance(command, BaseCommand):
            name = type(command).__module__.rpartition(".")[2]
            return "shell" if name == "shell" else f"manage.py {name}"
    return f"{os.path.basename(sys.argv[0]) or 'python'}, process {os.getpid()}"


def _is_prompt(frame: FrameType) -> bool:
    """Is this the loop of an interactive interpreter?"""
    return _module(frame) in ("code", "_pyrepl.console", "IPython.core.interactiveshell")


def _visitor(request: HttpRequest) -> str:
    # What AuthenticationMiddleware keeps on the request once somebody has asked who it is.
    user = request.__dict__.get("_cached_user")
    name = f"{user.get_username()}, " if user is not None and user.is_authenticated else ""
    return f"{name}{request.method} {request.path}"


# -- Why ------------------------------------------------------------------------------------------


def _why(frames: list[FrameType], statement: str) -> str:
    """The outermost method of Django's models before the site's own code."""
    found = ""
    for frame in frames:
        module, name = _module(frame), frame.f_code.co_name
        if module == "viewcache.expiry" and name in ("expire", "aexpire", "_aexpire"):
            return f"{name.removeprefix('_')}()"
        if module == "viewcache.keys" and not name.startswith("_"):
            return f"{name}()"
        # A manager hands each method on to its queryset's, by one name for all.
        is_method = not name.startswith(("_", "<")) and name != "manager_method"
        if module.startswith("django.db.models") and is_method:
            found = _subject(frame.f_locals) + f"{name}()"
        elif found and not _is_ours(frame):
            break
    return found or ("SQL" if statement else "a signal")


def _subject(names: dict[str, Any]) -> str:
    """The model that a method is of; of a related manager, it is that of the other side."""
    subject = names.get("self")
    if isinstance(subject, Model):
        return f"{subject._meta.label} {subject.pk}: "
    if isinstance(subject, QuerySet | Manager):
        return f"{subject.model._meta.label}: "
    return ""


def _where(frames: list[FrameType]) -> str:
    """The innermost frame of the site's own code; none beyond what called the view."""
    for frame in frames:
        if _is_prompt(frame) or _module(frame).startswith("django.core.handlers"):
            break
        if frame.f_code.co_filename.startswith("<"):
            continue  # it was typed, and stands in no file
        if _is_script(frame) or not (_is_ours(frame) or _module(frame) == "__main__"):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return ""


def _is_script(frame: FrameType) -> bool:
    """A program of the site's, that is not what starts its commands."""
    name = os.path.basename(frame.f_code.co_filename)
    return _module(frame) == "__main__" and name != "manage.py"
