"""How Sphinx builds the documentation: ``make docs``. Warnings are errors."""

import os
import sys
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(Path(__file__).resolve().parent / "_ext"), str(ROOT / "examples" / "blog")]

# The reference is made from the code, which wants a Django that is set up: the example blog's.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django.setup()

project = "django-viewcache"
author = "the django-viewcache maintainers"
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "viewcache_docs"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "django-viewcache"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Names that have no page here: Django's, Python's, and aliases.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"viewcache\.\w+\.View|viewcache\.explanation\.\w+|(django|collections|typing|types|contextlib|datetime|decimal)\..*",
    ),
    (
        "py:.*",
        "Any|BaseCache|BaseDatabaseWrapper|Callable|ClassVar|GetResponse|HttpRequest|HttpResponse"
        "|HttpResponseBase|Iterable|Iterator|Mapping|Model|NamedTuple|Paths|Promise|QuerySet"
        "|Sequence|View|_core\\..*|datetime|reads\\..*|policy\\..*|optional|Area",
    ),
]
