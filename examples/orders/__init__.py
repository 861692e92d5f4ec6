"""Orders of a shop as sagas: stock, payment and delivery are each done once, or undone."""
