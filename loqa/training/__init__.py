"""One run: configuration, trainer, run directory."""
