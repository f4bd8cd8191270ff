"""The daemon's reports about itself: health, counters, systemd, the lock of its site."""
