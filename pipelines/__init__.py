"""When and in what order things run: settings, the touched days, jobs, schedules, sensors, servers and the `mainflow` command.

What a table is belongs to `assets`; nothing here computes a figure.
"""
