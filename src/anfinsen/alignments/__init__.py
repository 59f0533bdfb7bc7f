"""Room: alignments."""
