"""The parts of verify_receipt.py: a second implementation of docs/formats.md, which takes nothing
from this project, so that a mistake would have to be made twice to go unseen."""
