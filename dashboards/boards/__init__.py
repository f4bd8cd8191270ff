"""One folder a group of boards, one file a board: its name is the board's uid, and it offers `TITLE`, `MORE` and `board()`.

Found by folder, no list to edit; the order of the groups stands in `dashboards.GROUPS`.
"""
