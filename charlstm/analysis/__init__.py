"""Analysis: a trained model or a text looked at more closely than training needs.

Novelty of a text, dynamic evaluation, gates on a text, gradients over time. May import training and
everything below it, but not runs. Start reading at gates.py.
"""
