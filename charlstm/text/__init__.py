"""Text: turns files of any size into ids on disk, ids into batches, and ids back into text.

This package may import system and the modules at the root. Start reading at vocab.py, which turns
text into ids and back; then read corpus.py, which turns files into ids on disk and splits them into
training and validation ids.
"""
