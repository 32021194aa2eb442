"""Text: files of any size to ids on disk, ids to batches for training, and ids back to text.

May import system and the modules at the root. Start reading at vocab.py, then corpus.py.
"""
