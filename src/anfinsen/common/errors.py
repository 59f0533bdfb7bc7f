"""Every error this package raises on purpose, drawn once.

    AnfinsenError
    ├── InputError            what the user gave cannot be used (exit code 2)
    │   ├── JobError          a job file or a Job
    │   ├── ChemistryError    a component, SMILES, SDF or bond
    │   ├── StructureError    a structure file
    │   ├── AlignmentError    an MSA or template alignment
    │   ├── ConfigError       a configuration or option
    │   │   └── ParameterError  an estimator's parameter (also a ValueError, as scikit-learn expects)
    │   └── WeightsError      a weights file or checkpoint
    ├── OutputError           a result cannot be written (exit code 2)
    ├── MemoryLimitError      the work does not fit the device (exit code 2)
    └── NonFiniteError        a computation produced NaN or infinity (exit code 2)
    MissingExtraError         an optional dependency is not installed (exit code 2)

One message is one clear sentence: what was read, where, what was expected, how to mend it.
"""

from __future__ import annotations


class AnfinsenError(Exception):
    """Base of every error raised on purpose; its message is written for the user."""


class InputError(AnfinsenError):
    """What the user gave cannot be used."""


class JobError(InputError):
    """A job file, or a job built in Python, is not valid."""


class ChemistryError(InputError):
    """A chemical component, SMILES string, SDF file or bond is not valid."""


class StructureError(InputError):
    """A structure file cannot be read."""


class AlignmentError(InputError):
    """A multiple sequence alignment or template alignment is not valid."""


class ConfigError(InputError):
    """A configuration value or command-line option is not valid."""


class ParameterError(ConfigError, ValueError):
    """A parameter of an estimator is not valid; also a ``ValueError``, which scikit-learn's users catch."""


class WeightsError(InputError):
    """A weights file or checkpoint cannot be used."""


class OutputError(AnfinsenError):
    """A result cannot be written."""


class MemoryLimitError(AnfinsenError):
    """The work does not fit into the memory of the device."""


class NonFiniteError(AnfinsenError):
    """A computation produced NaN or infinity; no result is written."""


class MissingExtraError(AnfinsenError):
    """An optional dependency is missing; the message says how to install it."""
