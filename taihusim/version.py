"""The package's version."""

from __future__ import annotations


def package_version() -> str:
    """The version of the installed package, read when asked for: ``--help`` does not need it."""
    from importlib.metadata import version

    return version("taihusim")
