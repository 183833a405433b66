"""site/ is another Django project: its tests run in a process of their own (test_wagtail.py)."""

collect_ignore = ["site"]
