"""The `mainflow` command: one file a subcommand, or several short ones in `main.py`."""
