"""Text: files of any size to ids on disk, ids to batches for training, and ids back to text.

May import system and the modules at the root. Start reading at vocab.py, which turns text into ids
and back, then at corpus.py, which turns files into ids on disk and splits off the validation part.
"""
