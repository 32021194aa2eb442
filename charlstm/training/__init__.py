"""Training: one step over all worker threads, and around it schedules, evaluations and defaults.

May import network and everything below it; knows no files. Start reading at trainer.py.
"""
