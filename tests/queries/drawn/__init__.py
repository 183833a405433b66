"""Models, views over them and writes to them, drawn from ``settings.WORLD``, a seed."""
