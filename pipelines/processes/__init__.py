"""The processes of a site: PostgreSQL, the daemon, Dagster, Grafana."""
