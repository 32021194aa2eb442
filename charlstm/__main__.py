"""The command line, for `python -m charlstm`."""

from charlstm.cli.main import main

if __name__ == "__main__":
    main(prog_name="charlstm")
