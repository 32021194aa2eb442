"""Models in the forms that others read.

Start reading at compact.py, which stores weights in fewer bits, and html_page.py, which puts a
model into a page that computes it.
"""
