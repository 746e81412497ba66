"""The program on the server: deploys from Git, backs up, watches, and tells. Standard library only."""

VERSION = "0.1.0"
"""As in pyproject.toml."""
