"""What codecs are made of: their interface, framer, explained fields, BCD, checksums, reassembly, Modbus. Pure."""
