"""Analysis: measurements of trained models and of generated texts, which training does not need.

The main modules are:

    dynamic_evaluation   the loss of a text while the weights adapt to it
    novelty              the stretches that a text has in common with the training text
    gate_activity        the values of cells and gates while a model reads a text
    gradient_flow        how gradients shrink or grow back in time

This package may import `training` and the packages below it in the list of charlstm/README.md, but
not `runs`. Start reading at gate_activity.py.
"""
