"""When a terminal counts as silent."""


def silent_after_min(step_min: int, upload_min: int | None = None) -> float:
    """Minutes without contact after which a terminal is silent: three readings, or one upload and half of the next one.

    `step_min`: between two readings. `upload_min`: between two uploads, None where it sends each reading at once.
    """
    return max(3.0 * step_min, 1.5 * (upload_min or 0))
