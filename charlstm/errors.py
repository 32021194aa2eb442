"""CharlstmError: the exception for all input that charlstm refuses."""


class CharlstmError(ValueError):
    """Raised for bad input: a file, an option or an argument that charlstm refuses.

    The message is one line for the user: it names the file, the character or the option, and says
    what to do. The command line prints the message and exits with code 1.
    """


class UnknownOptionError(CharlstmError, TypeError):
    """Raised for a keyword that a function does not take.

    UnknownOptionError is also a TypeError, because Python raises TypeError for an unknown keyword.
    """


class UnwritableError(CharlstmError):
    """Raised for a file that cannot be written now: the disk is full, or permission is missing."""
