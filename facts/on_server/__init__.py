"""Questions as they are asked on the server: standard library of Python 3.10 only, shipped by facts/wire.py."""
