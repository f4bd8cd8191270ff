"""How fast Mainflow is, as ratios measured in one run on the machine that runs it: `python -m benchmarks --help`."""
