"""Runs: a training in a folder of its own, with checkpoints, metrics and resumption after a crash.

May import training and everything below it. Start reading at start.py, which begins and resumes a
run, then run.py, which trains it to its end.
"""
