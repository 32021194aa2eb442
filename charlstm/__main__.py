"""python -m charlstm"""

from .cli import main

main()
