"""How commands print errors: one line on standard error, and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from charlstm.cli.option_names import as_options, options_among
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.system.signals import exit_code
from charlstm.system.terminal import visible

USAGE_ERROR = click.UsageError.exit_code  # 2
# The arguments that say how much memory a command needs.
MEMORY_OPTIONS = ("hidden", "batch_size", "seq_length", "count", "length", "lags")


@contextmanager
def one_line_errors(command: click.Command | None = None) -> Iterator[None]:
    """Print an error as one line on standard error, and raise click's Exit with the exit code.

    The code is 2 for wrong usage, as click's own errors have it: an argument that is wrong by
    itself or beside the others. The code is 1 for all that files, texts, models and the machine do
    not allow.

    command: the command that may raise errors, once it is known; messages show its options.
    """
    code = 1
    try:
        yield
        return
    except CharlstmError as error:
        message = as_options(str(error), command)
        code = USAGE_ERROR if isinstance(error, ArgumentError) else 1
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = error.format_message().removesuffix(".")
        if message[1:2].islower():  # not a name in capitals, such as TEXTS
            message = message[0].lower() + message[1:]
        code = USAGE_ERROR
    except MemoryError:
        message = "not enough memory"
        if command and (options := options_among(MEMORY_OPTIONS, command)):
            message += f": try a smaller {' or '.join(options)}"
    except BrokenPipeError:  # The reader of standard output, such as `head`, has ended.
        raise click.exceptions.Exit(0) from None
    except OSError as error:  # Standard output may be a file on a full disk, for example.
        message = f"{error.filename or 'failed'}: {error.strerror or error}"
    except KeyboardInterrupt:
        click.echo(err=True)
        raise click.exceptions.Exit(exit_code("SIGINT")) from None
    click.echo(f"charlstm: {visible(message)}", err=True)
    raise click.exceptions.Exit(code)
