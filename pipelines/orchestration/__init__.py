"""Dagster's jobs, schedules, sensors and resources."""
