"""What can go wrong with another system."""


class AmrError(RuntimeError):
    """A source could not be read, or the daemon does not take what was read; the text never has a password."""
