"""Public goods: n players who contribute or do not."""
