"""Threads that hold a lock while another wants it, or while their process is forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from textwrap import dedent

import pytest
from viewcache import breaker, stampede

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_a_lock_that_a_thread_of_its_parent_held() -> None:
    known = breaker.of((None, "forked"))
    with known._lock, stampede.passes._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            known.failed()
            stampede.passes.add("/page/")
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
