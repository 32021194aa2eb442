"""The machine: threads, signals, the terminal, memory, and files written whole or not at all.

May import errors only. Everything else can be read without knowing how these work.
"""
