"""The desk: the small web application beside Grafana, for what boards cannot do: acknowledge, maintain, the wall.

    browser ──▶ app.py (routes of every module in pages/) ──▶ security.py (who, may he, CSRF) ──▶ a page ──▶ PostgreSQL

It reads schema `mart` and writes schema `ops` as the role mainflow_desk. Log-ins are Grafana's. Frames and the daemon's view of
the registry come through the daemon's one door (`ingest_daemon/operations.py`, decision 0010), readings from the raw store.
"""
