"""What charlstm raises for what it refuses: always a CharlstmError."""


class CharlstmError(ValueError):
    """Bad input: a file, an option or an argument that charlstm refuses.

    The message is one line for the person at the keyboard: it names the file, the character
    or the option, and says what to do. The command line prints it and exits with 1.
    """


class UnwritableError(CharlstmError):
    """A file that cannot be written now: the disk is full, or the folder not to be written to."""
