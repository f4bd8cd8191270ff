"""A group of journal records to columns, whatever a codec does. No journal, store or database is touched here."""

from collections.abc import Sequence

import polars as pl

from ingest_daemon.frames import Codec, Decoded
from ingest_daemon.journal import Record
from ingest_daemon.schema import Reason


def decode(codec: Codec, records: Sequence[Record]) -> Decoded:
    """Decode the frames; a frame on which the codec fails, against its contract, is `rejected` alone and spoils no other."""
    frames = [record.payload for record in records]
    try:
        return codec.decode(frames)
    except Exception as error:
        if len(frames) == 1:
            return _failed(codec, error)
    half = len(records) // 2
    first, second = decode(codec, records[:half]), decode(codec, records[half:])
    shift = pl.col("frame") + half
    return Decoded(*(pl.concat([one, two.with_columns(shift)]) for one, two in zip(first, second, strict=True)))


def _failed(codec: Codec, error: Exception) -> Decoded:
    """What a frame gives that the codec cannot decode: nothing but the reason."""
    detail = f"the codec failed with {type(error).__name__}: {error}"
    return codec.decode([])._replace(rejected=pl.DataFrame({"frame": [0], "reason": [Reason.BAD_BODY.value], "detail": [detail]}))
