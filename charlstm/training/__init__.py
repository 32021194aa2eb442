"""Training: one step over all workers, and the plans, rates and evaluations around it.

May import network and everything below it; knows nothing of files. Start reading at trainer.py.
"""
