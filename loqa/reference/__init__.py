"""Slow, obvious versions of every game and kernel: the specification and the benchmark baseline."""
