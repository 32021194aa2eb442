"""The command `charlstm`, also for `python -m charlstm`. Signals are handled before all imports."""

import sys

from charlstm.system.early_signals import end_at_once_on_signals


def main() -> None:
    """Run the command line."""
    end_at_once_on_signals()
    try:
        # The module is imported here, as its import of NumPy is slow.
        from charlstm.cli.main import main as command_line
    except (ImportError, MemoryError) as error:
        # NumPy's message has many lines, of which the last names the cause.
        *_, reason = str(error).strip().splitlines() or ["not enough memory"]
        sys.exit(
            f"charlstm: a module cannot be loaded ({reason}): allow more memory, or install "
            "charlstm again"
        )
    command_line(prog_name="charlstm")


if __name__ == "__main__":
    main()
