"""The machine: threads, signals, the terminal, memory, paths, and atomic writing of files.

This package may import the modules that stand directly in charlstm/, and uses only charlstm.errors.
Its modules can be read in any order.
"""
