"""From the journal to the raw store and to PostgreSQL: decode, triage, quarantine, store, alarm events."""
