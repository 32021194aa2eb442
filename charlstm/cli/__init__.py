"""The command line: one file per command, which parses its options, calls the library and prints.

May import every other package; only __main__ imports it. Start reading at main.py.
"""
