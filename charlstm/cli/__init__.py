"""The command line. Each command has a file, which declares options, calls the library and prints.

This package may import every other package; only __main__ imports it. Start reading at main.py.
"""
