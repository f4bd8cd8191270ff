"""Reception: bytes become frames, frames go to the journal, are acknowledged, and reach the raw store.

No Dagster, no DuckDB here; SQL only in `alarm_sink.py`. The room imports nothing but itself.
"""
