"""`qwit bench`: what durable steps cost on one's own servers, beside the least that has to be done for them.

A scenario has several lines that are measured alternately, round by round, so that the machine's speed cancels out in
their ratios. Everything it writes lies in a namespace, a table and broker queues of its own, and is removed at the end.
"""
