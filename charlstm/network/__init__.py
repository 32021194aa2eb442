"""The network: layers and their backward passes, parameters, sampling and scoring.

May import kernels, text and everything below them. Start reading at textbook_cells.py, where each
cell is written as the textbooks have it; then layers/lstm.py and stack.py.
"""
