"""What SQLite and Postgres share: one session, one reader, one description of the tables.

A `Dialect` holds what differs. Statements are written with `?` and without a schema's name; the dialect finishes them.
The session keeps every row that a batch has touched (so that it sees its own writes) and writes at the end, table by
table: many writes to one row are one statement. Nothing here decides what a write means (`stores.kernel`) or opens a
connection (`stores.sqlite`, `stores.postgres`).
"""
