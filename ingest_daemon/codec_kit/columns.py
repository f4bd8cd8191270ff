"""Arrays of decoded values as the columns of `Decoded`."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest_daemon.codec_kit.bcd import Whole
from ingest_daemon.contract.schema import FIELDS, TIMESTAMP


def timestamps(microseconds: Whole | pl.Series) -> pl.Series:
    """Microseconds since 1970 UTC as timestamps."""
    return pl.Series(microseconds, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIMESTAMP)


def value_rows(frame: Whole, terminal: pl.Series, moment: str, moment_us: Whole, fields: NDArray[np.float64]) -> pl.DataFrame:
    """Rows of `frame`, `terminal`, the time named `moment` and `schema.FIELDS`; `fields` is (rows, fields), NaN for null."""
    return pl.DataFrame(
        {
            "frame": pl.Series(frame, dtype=pl.Int64),
            "terminal": terminal,
            moment: timestamps(moment_us),
            **{
                field.name: pl.Series(np.ascontiguousarray(fields[:, number]), nan_to_null=True).cast(field.dtype)
                for number, field in enumerate(FIELDS)
            },
        }
    )
