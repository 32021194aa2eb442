"""Layers: forward and backward side by side. They remember nothing between calls.

What a backward pass needs lies in the workspace of its forward pass. Gradients of parameters
and of activations overwrite the arrays that they are written to.
"""
