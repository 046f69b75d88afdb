"""Environments of other libraries' interfaces."""
