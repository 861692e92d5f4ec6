"""`python -m examples.workers`: the same as `python -m examples.workers.start`."""

import sys

from examples.workers.start import main

if __name__ == "__main__":
    main(sys.argv[1:])
