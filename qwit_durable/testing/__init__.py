"""What users test with: virtual time, and the suite that a store has to pass."""
