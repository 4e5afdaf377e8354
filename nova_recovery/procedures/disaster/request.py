# SPDX-License-Identifier: Apache-2.0

"""What the operator asked for."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from nova_recovery.compat import sha256
from nova_recovery.exceptions import RecoveryError, Refused, UsageError
from nova_recovery.procedures.disaster import scope as scope_module
from nova_recovery.procedures.disaster.judge import wanted
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.guests import reboot

_SHARE = re.compile(r'(\d{1,3})(%?)')


@dataclasses.dataclass(frozen=True)
class Request:
    """A disaster to be recovered from.

    :ivar snapshot: the file that tells what was; None: the databases do
    :ivar snapshot_sha256: of that file, when the plan was made; None: not
        looked at
    :ivar map_file: which volumes are attached again, in the place of what
        the snapshot has
    :ivar dump: a dump of the databases that was made after the outage
    :ivar first: servers that come before all others, UUIDs
    :ivar groups_first: server groups that come first among equals, names
        or UUIDs
    :ivar priority_key: of metadata: see wanted.Order
    :ivar since: when the outage was, as given; None: it is found out
    :ivar ask_hosts: hosts are asked themselves what is in the way
    :ivar not_running: ``SERVER-UUID@HOST`` -> how the operator knows that
        the guest does not run there
    :ivar max_failures: as ``failures`` reads it
    :ivar per_host: servers brought up side by side on one host
    :ivar everywhere: the same for the whole cloud
    :ivar wave_size: servers of a wave
    :ivar console_wait: seconds in which a console log must tell something
    :ivar settle: see changes.once
    :ivar patience: seconds for each server and volume
    """

    scope: Scope = Scope()
    snapshot: str | None = None
    snapshot_sha256: str | None = None
    map_file: str | None = None
    dump: str | None = None
    first: tuple[str, ...] = ()
    groups_first: tuple[str, ...] = ()
    priority_key: str = wanted.PRIORITY_KEY
    since: str | None = None
    ask_hosts: bool = False
    not_running: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_failures: str = '5%'
    per_host: int = 4
    everywhere: int = 16
    wave_size: int = 50
    console_wait: int = 120
    settle: int = 1800
    patience: int = 600
    guests: reboot.Request = dataclasses.field(default_factory=reboot.Request)

    def plain(self) -> dict[str, Any]:
        """As plain data, for the arguments of a plan."""
        return {
            **_plain(self),
            'scope': self.scope.plain(),
            'guests': _plain(self.guests),
        }


def of(data: Mapping[str, Any]) -> Request:
    """The request that :meth:`Request.plain` made plain data of."""
    return Request(
        **{
            **_tuples(data),
            'scope': scope_module.of(data['scope']),
            'guests': reboot.Request(**_tuples(data['guests'])),
        }
    )


def failures(text: str, servers: int) -> int:
    """How many servers of a wave may fail before the run pauses.

    :param text: a number, or a share of the wave such as ``5%``
    :param servers: of the wave
    :raises UsageError: it is neither
    """
    match = _SHARE.fullmatch(text.strip())
    if match is None or (match[2] and int(match[1]) > 100):
        raise UsageError(
            f'--max-failures {text}: give a number, or a share such as 5%'
        )
    number = int(match[1])
    return servers * number // 100 if match[2] else number


def _plain(record: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Mapping):
            value = dict(value)
        found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in data.items()
    }


def checksum(path: str) -> str:
    """The SHA-256 of the file.

    :raises RecoveryError: it can't be read
    """
    try:
        with open(path, 'rb') as file:
            return sha256(file)
    except OSError as error:
        raise RecoveryError(
            f"snapshot {path}: can't be read: {error.strerror or error}"
        ) from error


def require(request: Request) -> None:
    """Return if the plan's snapshot is there as it was.

    :raises Refused: it is gone, or another one
    """
    path, was = request.snapshot, request.snapshot_sha256
    if not path or not was:
        return
    try:
        now = checksum(path)
    except RecoveryError as error:
        found = str(error)
    else:
        if now == was:
            return
        found = f'snapshot {path}: it is another file by now'
    raise Refused(
        f'{found}. The plan was made with one of sha256 {was[:12]}…: put it '
        'back there, or make a new plan'
    )
