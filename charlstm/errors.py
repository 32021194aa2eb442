"""The one exception that charlstm raises for what it refuses."""


class CharlstmError(ValueError):
    """Bad input: a file, an option or an argument that charlstm refuses.

    The message is one line for the person at the keyboard: it names the file, the character
    or the option, and says what to do. The command line prints it and exits with 1.
    """
