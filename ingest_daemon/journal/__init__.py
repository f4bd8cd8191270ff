"""Received bytes, safe on disk before anyone is told so: records, reader, writer, record header."""
