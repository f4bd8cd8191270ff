"""A believable fleet of major customers: their use, their faults, the truth, the billing database, and terminals that speak TCP.

Nothing here knows how the product cleans or computes; `truth.py` must stay an independent witness.
"""
