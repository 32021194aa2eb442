"""Training: the training step and its worker threads, schedules, validation, default settings.

This package may import `network` and the packages below it in the list of charlstm/README.md. It
reads and writes no files. Start reading at trainer.py.
"""
