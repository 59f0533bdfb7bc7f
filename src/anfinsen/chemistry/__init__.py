"""Room: chemistry."""
