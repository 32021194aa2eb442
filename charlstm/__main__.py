"""The command line, for `python -m charlstm`."""

from charlstm.cli.main import main

main()
