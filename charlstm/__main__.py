"""The command `charlstm`, also for `python -m charlstm`. Signals are handled before all imports."""

from charlstm.system.early_signals import end_at_once_on_signals


def main() -> None:
    """Run the command line."""
    end_at_once_on_signals()
    from charlstm.cli.main import main as command_line  # imported here, as NumPy is slow to import

    command_line(prog_name="charlstm")


if __name__ == "__main__":
    main()
