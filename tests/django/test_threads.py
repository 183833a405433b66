"""Threads that want the interpreter and a lock of the core, each held by the other."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

PROGRAM = """
    import threading, time
    import django
    from django.conf import settings

    class Hosts(list):
        __hash__ = None

        def __eq__(self, other):
            time.sleep(0.0002)  # another thread has its turn
            return list.__eq__(self, other)

    names = ["a.example", "b.example", "c.example"]
    settings.configure(ALLOWED_HOSTS=Hosts(names), USE_TZ=True)
    django.setup()

    import viewcache
    from django.test import RequestFactory

    def ask(host):
        for port in range(1, 300):
            for name in (host, f"{host}:{port}"):
                viewcache.get_cache_key(RequestFactory().get("/", headers={"host": name}))

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("done")
"""


def test_a_comparison_that_waits_holds_nobody_up() -> None:
    # Not here: threads that wait for each other cannot be ended.
    done = subprocess.run(
        [sys.executable, "-c", dedent(PROGRAM)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "done\n", done.stderr
