"""Sockets: bytes of a connection become frames, frames are journaled and acknowledged."""
