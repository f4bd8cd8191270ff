"""The SMS channel: meters that report by SMS, and alarms that go out as SMS.

Messages come in through `webhook.py` (a gateway's HTTP) or `directory.py` (files of a modem daemon), become octets in `pdu.py`,
`text.py` and `concatenation.py`, and frames in `inbox.py`. Alarms go through `alarms.py` (text and time), `outbox.py` (kept
until it is sent) and `gateway.py` (HTTP). `service.py` puts them together. No figure, store or database is touched here.
"""
