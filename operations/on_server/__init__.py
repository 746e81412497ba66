"""Changes that need more than a line of shell: standard library of Python 3.10 only, shipped by facts/wire.py."""
