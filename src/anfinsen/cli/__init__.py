"""The command line: thin, it joins the rooms and holds no logic of its own."""

from .app import main

__all__ = ["main"]
