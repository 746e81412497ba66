"""`python3 -m koprogo`: what /usr/local/bin/koprogo starts."""

import sys

from koprogo.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
