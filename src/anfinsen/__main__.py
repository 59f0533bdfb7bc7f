"""``python -m anfinsen`` is ``anfinsen``."""

from anfinsen.cli import main

main()
