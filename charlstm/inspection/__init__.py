"""Looks into a model: where its gradients go, and what its cells and gates do on a text."""
