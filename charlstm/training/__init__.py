"""Training: one step shared by all worker threads, the schedules, the evaluations, the defaults.

May import network and everything below it; reads and writes no files. Start reading at trainer.py.
"""
