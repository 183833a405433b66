"""What the servers themselves may answer: read only, full, too large, another type."""

from __future__ import annotations

import pytest
from faults.proxy import Proxy, between
from faults.site import Site
from servers import Server, running
from viewcache import breaker, conf

redis = pytest.mark.parametrize("server", ["redis"], indirect=True)
memcached = pytest.mark.parametrize("server", ["memcached"], indirect=True)


@redis
def test_a_replica_that_may_only_be_read(site: Site, proxy: Proxy, server: Server) -> None:
    site.get()
    assert site.get()
    with running("redis") as primary:
        server.ask(f"replicaof 127.0.0.1 {primary.port}")
        for _ in range(3):
            breaker.reset()
            site.get()
        assert not site.change(), "a replica took no expiry"
        server.ask("replicaof no one")
    site.recover()


@redis
def test_a_server_that_is_full(site: Site, server: Server) -> None:
    site.get()
    assert site.get()
    server.ask("config set maxmemory-policy noeviction", "config set maxmemory 1")
    # Reading still works; nothing is written, no expiry among it.
    assert site.get()
    assert not site.change()
    for number in range(3):
        breaker.reset()
        assert not site.get(f"/other/{number}/")
    server.ask("config set maxmemory 0")
    site.recover()


@redis
@pytest.mark.parametrize("policy", ["allkeys-random", "allkeys-lru"])
def test_a_server_that_evicts(site: Site, server: Server, policy: str) -> None:
    server.ask(f"config set maxmemory-policy {policy}", "config set maxmemory 2mb")
    for number in range(100):
        site.get(f"/page/{number % 50}/?size=20000")
        if number % 7 == 0:
            site.change(f"/page/{number % 50}/")
            # Only that one is new; the others need not be.
            site.acknowledged = 0
            assert not site.get(f"/page/{number % 50}/?size=20001")
    evicted = server.ask("info stats").partition("evicted_keys:")[2].split()[0]
    assert int(evicted) > 0


@redis
@pytest.mark.parametrize("command", ["rpush {} a", "sadd {} a", "hset {} a b", "set {} text"])
def test_another_type_under_our_keys(site: Site, server: Server, command: str) -> None:
    site.get()
    keys = [line for line in server.ask("keys *").splitlines() if line.startswith(":1:viewcache")]
    assert len(keys) >= 3
    for key in keys:
        server.ask(f"del {key}", command.format(key))
        breaker.reset()
        for _ in range(2):
            site.get()
    breaker.reset()
    server.ask(*(f"del {key}" for key in keys))
    site.recover()


@memcached
def test_a_value_that_is_too_large(site: Site) -> None:
    url = "/page/?size=2000000"
    for _ in range(3):
        assert not site.get(url)
    site.recover()


@memcached
def test_memcached_that_evicts(site: Site, proxy: Proxy, server: Server) -> None:
    server.ask("cache_memlimit 8")
    for number in range(200):
        site.get(f"/page/{number}/?size=100000")
    assert "STAT evictions 0" not in server.ask("stats")
    site.recover()


@memcached
def test_text_under_our_keys(site: Site, server: Server) -> None:
    site.get()
    keys = conf.site().generation_keys(["path:/page/", "tree:/"])
    for key in keys:
        server.ask(f"set :1:{key} 0 0 4", "text")
        for _ in range(2):
            site.get()
    assert site.get()
    site.recover()


def test_the_proxy_itself(server: Server) -> None:
    """As if it were not there, unless it is told otherwise."""
    with between(server.port) as proxy:
        through = Server(server.kind, proxy.port, server.process, server.log)
        question = "version" if server.kind == "memcached" else "ping"
        assert through.ask(question) == server.ask(question)
        proxy.mode = "refuse"
        with pytest.raises(ConnectionRefusedError):
            through.ask(question)
        proxy.mode = "half"
        assert len(through.ask(question)) < len(server.ask(question))
        proxy.mode = "pass"
        assert through.ask(question) == server.ask(question)
