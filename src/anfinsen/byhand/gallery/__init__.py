"""The gallery: well-known computations as workbooks, on small whole numbers and on trained models' real ones.

`entry.py` says what an entry is; one file for each kind of computation; `writing.py` lists and writes them all.
"""

from .entry import Entry, Losses, Network, Pairs, PictureDecoder, Recorded, Sources
from .writing import ENTRIES, entries, plan_of, record, write_gallery

__all__ = [
    "ENTRIES",
    "Entry",
    "Losses",
    "Network",
    "Pairs",
    "PictureDecoder",
    "Recorded",
    "Sources",
    "entries",
    "plan_of",
    "record",
    "write_gallery",
]
