"""The network: layers and their backward passes, parameters, sampling and scoring.

This package may import `kernels`, `text` and the packages below them in the list of
charlstm/README.md. Start reading at textbook_cells.py, which has each cell as textbooks write it;
then read layers/lstm.py and stack.py.
"""
