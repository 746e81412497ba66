#!/bin/sh
# Written by deploy.py.
PYTHONPATH={{ library }} exec python3 -m koprogo "$@"
