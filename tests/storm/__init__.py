"""Several processes at once, one cache command at a time, in an order that a seed decides."""
