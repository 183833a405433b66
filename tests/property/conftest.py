"""Hypothesis, set up for tests whose examples talk to a cache."""

from hypothesis import HealthCheck, settings

# No deadline: two test runs may share a machine. Fixtures may outlive an example: each example
# begins by emptying what it uses.
settings.register_profile(
    "viewcache",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("viewcache")
