"""Who may be on the line: which addresses are let in, whose frames are believed, and TLS. No socket, journal or log here.

What is decided here is carried out by the server. Everything belongs to the event loop, and a frame of an honest terminal costs
a look-up or two.
"""

import ipaddress
import ssl
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ingest_daemon.codec_kit.api import Arrival, Codec, Decoded
from ingest_daemon.contract.schema import Reason
from ingest_daemon.contract.settings import SettingError
from ingest_daemon.journal.envelope import MOST_STATIONS
from ingest_daemon.reception.settings import ACCEPT, IGNORE, POLICIES, QUARANTINE, REFUSE, AccessSettings, networks
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Terminal

REMEMBERED = 1 << 18
"""So many acknowledged frames are remembered (a power of two); newer ones take the places of older ones."""


class ConnectionLimiter:
    """Lets connections in by their address."""

    def __init__(self, settings: AccessSettings) -> None:
        self._networks = networks(settings.allow)
        self._most = settings.per_address
        self._count: Counter[str] = Counter()

    def admit(self, address: str) -> str:
        """Let a connection of this address in ("") and count it until `left`, or say why it is turned away."""
        if self._networks and not self._allowed(address):
            return f"{address} is not in [access] allow"
        if self._count[address] >= self._most:
            return f"{address} has {self._most} connections already ([access] per_address)"
        self._count[address] += 1
        return ""

    def left(self, address: str) -> None:
        """A connection that was let in is gone."""
        self._count[address] -= 1
        if self._count[address] <= 0:
            del self._count[address]

    def _allowed(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)


class ConnectionState:
    """What is remembered of one connection: its address, the station it first spoke for, since when a frame is unfinished."""

    __slots__ = ("address", "began_s", "station")

    def __init__(self, address: str) -> None:
        self.address = address
        self.station = ""
        self.began_s: float | None = None

    def fed(self, pieces: int, pending: int, now_s: float) -> None:
        """Bytes came: so many pieces became complete, so many bytes are left of an unfinished one."""
        if not pending:
            self.began_s = None
        elif pieces or self.began_s is None:
            self.began_s = now_s

    def overdue(self, frame_s: float, now_s: float) -> bool:
        """Whether the unfinished frame takes longer than `frame_s`."""
        return self.began_s is not None and now_s - self.began_s > frame_s


class Verdict(NamedTuple):
    """What is to be done with a frame.

    `policy`: of `POLICIES`. `reason`: of `schema.Reason`, empty for none (it may be there with `ACCEPT`: counted only).
    `acknowledge`: whether the sender gets its answer. `stations`: see `RecordHeader`.
    """

    policy: str
    reason: str
    acknowledge: bool
    stations: tuple[tuple[str, str], ...] = ()

    @property
    def is_believed(self) -> bool:
        """Whether the frame comes from the station in its header as far as that can be known."""
        return self.policy == ACCEPT


GOOD = Verdict(ACCEPT, "", True)


class SenderVerifier:
    """Decides whose frames are believed: of the station in a frame's header, and of every other that its body names.

    A **wrong password** is one that differs from the registered one, leading zeros and case aside (spreadsheets drop the former).
    A frame without one is wrong, too, so for terminals of protocols without passwords none is to be registered.

    A **foreign station** is one that comes over a connection that first spoke for another, unless both are registered on the same
    `link`. Relays and gateways do that honestly, so by default it is only counted.

    A **replayed** frame has the bytes of one that was acknowledged before, comes from another address, later than `replay_s`, and
    says the time of what it reports. So an honest terminal feels nothing: what was not acknowledged may be repeated from any
    address (a carrier gives a new one with each connection) at any time; what was, from the same address at any time and from
    others within `replay_s` (the acknowledgement was lost); signs of life without a time may be the same for ever.

    Another station in the body is foreign, unless it is registered on the sender's `link`. Its registered password is required
    whatever `wrong_password` says: that setting is about a station's own frames. What is not believed of it is kept aside, and
    the sender's own readings are stored; where the policy is to refuse, the whole frame is refused. Nothing of the body counts
    where the sender is not believed.
    """

    def __init__(self, settings: AccessSettings, known: TerminalDirectory) -> None:
        self._known = known
        self._ignores = settings.unknown == IGNORE
        self._policies = {
            str(Reason.WRONG_PASSWORD): settings.wrong_password,
            str(Reason.FOREIGN_STATION): settings.foreign_station,
            str(Reason.REPLAYED): settings.replayed,
        }
        self._replay_s = settings.replay_s
        self._seen = _Seen(REMEMBERED)
        self.counted: Counter[str] = Counter()
        """Frames a reason, whatever was done with them."""

    def judge(self, codec: Codec, station: str, raw: bytes, heard: ConnectionState, now_s: float) -> Verdict:
        """What is to be done with a frame (of several packets: the whole message); `now_s`: of a clock that never goes back.

        Of several doubts that with the strictest policy counts.
        """
        terminal = self._known.terminals.get(station)
        doubts = []
        if terminal is not None and _is_wrong(terminal, codec, raw):
            doubts.append(str(Reason.WRONG_PASSWORD))
        elif not heard.station:
            heard.station = station
        if heard.station not in ("", station) and not self._same_link(station, heard.station):
            doubts.append(str(Reason.FOREIGN_STATION))
        if self._is_replayed(codec, raw, heard.address, now_s):
            doubts.append(str(Reason.REPLAYED))
        others = codec.other_stations(raw)
        if not doubts and not others and terminal is not None:
            return GOOD
        self.counted.update(doubts)
        policy, reason = self._strictest(doubts)
        if terminal is None:
            self.counted[str(Reason.UNKNOWN_TERMINAL)] += 1
        judged = self._judge_others(codec, station, raw, others)
        refusal = next((why for _, body_policy, why in judged if body_policy == REFUSE), "")
        if refusal and policy != REFUSE:
            policy, reason = REFUSE, refusal
        stations = tuple((other, why if body_policy != ACCEPT else "") for other, body_policy, why in judged)
        return Verdict(policy, reason, policy != REFUSE and not (terminal is None and self._ignores), stations)

    def judge_answer(self, codec: Codec, station: str, raw: bytes) -> tuple[tuple[str, str], ...]:
        """What is to be done with the other stations that the answers of `station` name; see `RecordHeader.stations`."""
        judged = self._judge_others(codec, station, raw, codec.other_stations(raw))
        return tuple((other, reason if policy != ACCEPT else "") for other, policy, reason in judged)

    def _judge_others(self, codec: Codec, sender: str, raw: bytes, others: Sequence[str]) -> list[tuple[str, str, str]]:
        """Station, policy and reason of those that a body names beside the sender."""
        judged, counted = [], set()
        for other in others[:MOST_STATIONS]:
            terminal = self._known.terminals.get(other)
            doubts = [] if self._same_link(other, sender) else [str(Reason.FOREIGN_STATION)]
            is_wrong = terminal is not None and _is_wrong(terminal, codec, raw)
            doubts += [str(Reason.WRONG_PASSWORD)] * is_wrong
            policy, reason = self._strictest(doubts)
            if is_wrong and policy == ACCEPT:
                policy, reason = QUARANTINE, str(Reason.WRONG_PASSWORD)
            judged.append((other, policy, reason))
            counted.update(doubts)
        self.counted.update(counted)
        return judged

    def _strictest(self, doubts: Sequence[str]) -> tuple[str, str]:
        """The strictest policy for the doubts, with its reason."""
        judged = ((self._policies[doubt], doubt) for doubt in doubts)
        return max(judged, key=lambda pair: POLICIES.index(pair[0]), default=(ACCEPT, ""))

    def acknowledged(self, raw: bytes, heard: ConnectionState, now_s: float) -> None:
        """The frame is safe on disk, and the sender was told so where its protocol has that."""
        self._seen.put(hash(raw), hash(heard.address), now_s)

    def _same_link(self, station: str, first: str) -> bool:
        ours, other = self._known.terminals.get(station), self._known.terminals.get(first)
        return ours is not None and other is not None and bool(ours.link) and ours.link == other.link

    def _is_replayed(self, codec: Codec, raw: bytes, address: str, now_s: float) -> bool:
        key, sender = hash(raw), hash(address)
        if not self._seen.elsewhere_before(key, sender, now_s - self._replay_s):
            return False
        if _is_dated(codec, raw):
            return True
        self._seen.put(key, sender, now_s, again=True)  # so that the same sign of life is not looked at so closely each time
        return False


def tls(settings: AccessSettings) -> ssl.SSLContext | None:
    """The context of the listeners, TLS 1.2 or newer; None where no certificate is set. Raises `SettingError` naming the file."""
    if not (settings.tls_certificate or settings.tls_key or settings.tls_client_ca):
        return None
    if not (settings.tls_certificate and settings.tls_key):
        raise SettingError("[access] tls_certificate and tls_key: expected both or neither; tls_client_ca needs them, too")
    for key in ("tls_certificate", "tls_key", "tls_client_ca"):
        path = getattr(settings, key)
        if path and not Path(path).is_file():
            raise SettingError(f"[access] {key} = {path!r}: there is no such file; expected one in PEM format")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without the empty passphrase OpenSSL would ask for one in the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (OSError, ValueError) as error:
        raise SettingError(
            f"[access] tls_certificate = {settings.tls_certificate!r}, tls_key = {settings.tls_key!r}: {error}; "
            "expected a certificate chain and its private key without passphrase, both PEM"
        ) from None
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:
            raise SettingError(
                f"[access] tls_client_ca = {settings.tls_client_ca!r}: {error}; expected certificates in PEM format"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Seen:
    """Frames by the hash of their bytes (which Python keys anew in each process): from whom and when. Fixed in size."""

    def __init__(self, size: int) -> None:
        self._mask = size - 1
        self._keys, self._senders = (array("q", bytes(8 * size)) for _ in range(2))
        self._times = array("d", bytes(8 * size))

    def put(self, key: int, sender: int, now_s: float, *, again: bool = False) -> None:
        """Note a frame. `again`: also where it is noted already; else the first time stays, so that repeating renews nothing."""
        place = key & self._mask
        if again or self._keys[place] != key:
            self._keys[place], self._senders[place], self._times[place] = key, sender, now_s

    def elsewhere_before(self, key: int, sender: int, before_s: float) -> bool:
        """Whether the frame was noted of another sender, before that time."""
        place = key & self._mask
        return self._keys[place] == key and self._senders[place] != sender and self._times[place] < before_s


def _is_dated(codec: Codec, raw: bytes) -> bool:
    """Whether the frame says a time, so that the same bytes cannot be meant anew; not the time at which it came."""
    try:
        first, second = (_times(codec.decode([Arrival(raw, received_us)], {})) for received_us in (10**15, 2 * 10**15))
    except Exception:  # a codec that fails against its contract says no time
        return False
    return bool(first & second)


def _times(decoded: Decoded) -> set[object]:
    return {*decoded.readings["ts"], *decoded.alarms["event_at"], *decoded.clocks["sent_at"]} - {None}


def _is_wrong(terminal: Terminal, codec: Codec, raw: bytes) -> bool:
    """Whether the terminal has a registered password that the frame does not carry."""
    return bool(terminal.password) and not terminal.has_password(codec.password(raw))
