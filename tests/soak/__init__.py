"""The example site under real servers, for a while: written to, read, and let down by its cache."""
