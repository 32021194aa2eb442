"""Runs: a training in a folder of its own, with checkpoints, metrics and resumption after a crash.

This package may import `training`, and the packages below `training` in the list of
charlstm/README.md. Start reading at start.py, which begins and resumes a
run, then run.py, which trains it to its end.
"""
