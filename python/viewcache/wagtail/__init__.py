"""
Expires the pages of a Wagtail site when an editor changes them::

    INSTALLED_APPS = [..., "viewcache", "viewcache.wagtail"]

What a change makes old is told in ``pages``, what counts as a change in ``receivers``.
``frontend_cache`` is a backend for Wagtail's own ``wagtail.contrib.frontend_cache``, for code
that purges by hand.
"""
