"""Analysis: measurements of a trained model or of a text that training does not need.

dynamic_evaluation: the loss while the weights follow a text. novelty: stretches copied from the
training text. gates: activity of cells and gates. gradient_flow: gradients back in time. May import
training and everything below it, but not runs. Start reading at gate_activity.py.
"""
