"""A holiday of sub-workflows, three deep, that is paid for last."""
