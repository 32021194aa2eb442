"""The machine: threads, signals, the terminal, memory, paths, and files written atomically.

May import the modules at the root; so far it needs only errors. Start anywhere: its modules do not
depend on each other, and the rest of the program can be read without knowing how they work.
"""
