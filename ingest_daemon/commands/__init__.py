"""Commands to terminals, queued until their terminal is on line."""
