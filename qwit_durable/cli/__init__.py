"""`qwit`: the command line. The only part that imports click and rich."""
