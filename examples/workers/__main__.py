"""`python -m examples.workers`: the same as `python -m examples.workers.start`."""

from examples.workers.start import main

if __name__ == "__main__":
    main()
