"""Text: turns files of any size into ids on disk, ids into batches, and ids back into text.

This package may import `system` and the packages below `system` in the list of charlstm/README.md.
Start reading at vocab.py, which turns text into ids and ids into text. Then read corpus.py, which
turns files into ids on disk, and splits the ids into training and validation ids.
"""
