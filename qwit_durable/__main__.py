"""`python -m qwit_durable` is `qwit`."""

from qwit_durable.cli.main import main

if __name__ == "__main__":
    main()
