"""A shop whose models have every kind of relation; ``python -m shop`` searches it for old pages."""
