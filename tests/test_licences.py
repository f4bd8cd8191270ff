"""Every package of the lock has a licence that Mainflow may be used and passed on with."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

LOCK = Path(__file__).parents[1] / "requirements.lock"
ALLOWED = re.compile(
    r"MIT|BSD|Apache|ISC|MPL|Mozilla|PSF|Python Software Foundation|LGPL|Lesser General Public|Unlicense|Zlib|HPND|0BSD|"
    r"Public Domain|PostgreSQL|CC0|WTFPL|Zope",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(
    r"(?<!L)\bA?GPL|(?<!Lesser )General Public License|Commercial|Proprietary|SSPL|BUSL|Elastic", re.IGNORECASE
)


def locked() -> list[str]:
    return re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), re.MULTILINE)


def licence(package: str) -> str:
    """What the package says of itself: the SPDX expression, the classifiers, or the first line of its text."""
    try:
        found = metadata(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is locked for other platforms and not installed here")
    said = [found.get("License-Expression") or ""]
    said += [value.rpartition(" :: ")[2] for value in found.get_all("Classifier") or [] if value.startswith("License ::")]
    text = (found.get("License") or "").strip()
    return "; ".join(filter(None, [*said, text.splitlines()[0] if text else ""]))


# These say nothing in their metadata; what their repositories' licence files say was read by a person.
READ_BY_A_PERSON: dict[str, str] = {}


@pytest.mark.parametrize("package", locked())
def test_the_licence_is_allowed_of(package: str) -> None:
    said = READ_BY_A_PERSON.get(package) or licence(package)
    assert ALLOWED.search(said), f"{package}: {said or 'says nothing'}"
    assert not FORBIDDEN.search(said), f"{package}: {said}"
