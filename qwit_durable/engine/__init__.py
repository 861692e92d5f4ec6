"""The imperative shell around the core: it knows protocols, no product."""
