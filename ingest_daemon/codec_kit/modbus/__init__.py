"""Modbus inside any framing: protocol data units, register maps, register values."""
