"""What the tables are and how one partition of each is made: registry, units, marts, billing, publication, reports.

When and in what order things run belongs to `pipelines`; formulas that SQL can say belong to `sql/`.
"""
