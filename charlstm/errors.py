"""CharlstmError: the exception for all input that charlstm refuses.

A message speaks of arguments of the library, as Python writes them, in backquotes: a name such as
`batch_size`, an argument with its value such as `lr=0.1`, or a call. The command line shows them as
its options (cli/option_names.py).
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager


class CharlstmError(ValueError):
    """Raised for all that charlstm refuses: a file, an argument, or a value of it.

    The message is one line for the user: it names the file, the character or the argument, and says
    what to do. If another exception was the reason, such as an OSError, it is the `__cause__`. The
    command line prints the message and exits with code 1, or 2 for an ArgumentError.
    """


class ArgumentError(CharlstmError):
    """Raised for an argument that is wrong whatever the files, the model and the machine are.

    It has a value that is never accepted, is missing, or excludes another argument. The command
    line exits with code 2, as for every wrong usage.
    """


class UnknownOptionError(ArgumentError, TypeError):
    """Raised for a keyword that a function does not take.

    UnknownOptionError is also a TypeError, because Python raises TypeError for an unknown keyword.
    """


class UnwritableError(CharlstmError):
    """Raised for a file that cannot be written now: the disk is full, or permission is missing."""


def quoted(value: object) -> str:
    """Return the text of a value in double quotes, for an argument in a message."""
    return json.dumps(str(value), ensure_ascii=False).replace("`", "\\u0060")


def shown(value: object) -> str:
    """Return the beginning of the repr of a value, on one line, for a message."""
    return re.sub(r"\s*\n\s*", " ", repr(value))[:60]


@contextmanager
def errors_begin_with(place: str, kind: type[CharlstmError] | None = None) -> Iterator[None]:
    """Put `place` before the message of a CharlstmError.

    kind: the type of the new error, such as CharlstmError for a wrong value in a file, which is no
        wrong argument; None keeps the type.
    """
    try:
        yield
    except CharlstmError as error:
        raise (kind or type(error))(f"{place}{error}") from error.__cause__


@contextmanager
def system_errors_refused() -> Iterator[None]:
    """Turn an OSError that nothing else has explained into a CharlstmError with it as the cause."""
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        raise CharlstmError(f"{place}{error.strerror or error}") from error
