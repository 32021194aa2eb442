"""Analysis: measurements of trained models and of generated texts, which training does not need.

dynamic_evaluation: the loss of a text while the weights adapt to it. novelty: stretches copied from
the training text. gate_activity: values of cells and gates. gradient_flow: how gradients shrink or
grow back in time. May import training and everything below it, but not runs. Start reading at
gate_activity.py.
"""
