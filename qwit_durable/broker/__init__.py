"""The binding to Dramatiq: the only package that imports it. A broker is a doorbell here, never a truth."""
