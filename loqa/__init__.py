"""Opponent shaping at hardware speed: simulators, DiCE kernels and LOQA."""
