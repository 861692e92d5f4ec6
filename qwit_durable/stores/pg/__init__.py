"""What is Postgres's own: connecting and explaining errors, looking ahead for a whole batch, and the hottest statement.

Imported by `stores.postgres` alone, so that nobody loads the driver who does not use it.
"""
