"""Runs: which days wait, what a run makes, and what follows from it."""
