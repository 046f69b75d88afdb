"""Agents of published systems, read from their own files."""
