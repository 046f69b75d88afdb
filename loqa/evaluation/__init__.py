"""Matches, leagues, exploitability."""
