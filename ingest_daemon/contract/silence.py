"""When a terminal counts as silent: one rule for status, boards and alerts."""

DAILY_MIN = 1440
"""Minutes between two uploads of a terminal that calls in by itself and for which the registry gives no `upload_min`."""


def silent_after_min(step_min: int, upload_min: int | None, *, is_polled: bool) -> float:
    """Minutes without contact after which a terminal is silent: three readings, or one upload and half of the next one.

    `step_min`: between two readings. `upload_min`: between two uploads, None where the registry gives none: a polled terminal is
    then expected with each reading, any other once a day.
    """
    expected_min = upload_min or (0 if is_polled else DAILY_MIN)
    return max(3.0 * step_min, 1.5 * expected_min)
