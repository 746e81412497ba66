#!/bin/sh
# Written by deploy.py. Python looks for modules in the current folder first: root must not take any from there.
cd / && PYTHONPATH={{ library }} exec python3 -m koprogo "$@"
