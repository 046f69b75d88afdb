"""Figures of runs and leagues."""
