"""Telephone numbers: when two are the same."""

CHINA = "86"


def digits(number: str) -> str:
    """The digits of a number for comparison, without a Chinese country code (+86, 0086, 86) before a mobile number.

    "" where there are none: the name of a company as a sender.
    """
    if not any(letter.isdecimal() for letter in number) or any(letter.isalpha() for letter in number):
        return ""
    found = "".join(letter for letter in number if letter in "0123456789").removeprefix("00")
    mobile = found.removeprefix(CHINA)
    return mobile if len(mobile) >= 11 and mobile.startswith("1") else found
