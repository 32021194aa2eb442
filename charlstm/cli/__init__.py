"""The command line: one file a command, each of which parses, makes one library call and prints.

May import every other package; nothing imports it but __main__. Start reading at main.py.
"""
