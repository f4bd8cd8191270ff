"""The shapes of panels, a file a family; each makes the JSON of one panel (schema 41) from its words, its SQL and its columns.

Not here: what a board shows (`boards/`), how panels are placed (`board.py`), where rows lead (`links.py`).
"""
