"""A believable fleet of major customers: their use, their faults, the truth, the billing database, and terminals that speak TCP.

Nothing here uses the product's cleaning or figures; `truth.py` must stay an independent witness.
"""
