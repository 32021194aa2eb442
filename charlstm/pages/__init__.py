"""Pages: HTML files that need no internet access, and the design that they share.

Start reading at page.py, which puts a page together from its parts. The parts that all pages share
are here: the colours and the layout (page.css) and the functions of scripts (page.js).
"""
