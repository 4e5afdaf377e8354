# SPDX-License-Identifier: Apache-2.0

"""The guide's map file: a line ``volume instance mountpoint`` for each.

Without root volumes, as nothing can attach one again as root.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
import dataclasses
import re

from nova_recovery.exceptions import RecoveryError
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.reading import Snapshot

# Essex has numbers for volumes
_UUID = re.compile(
    r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
)
_VOLUME = re.compile(rf'{_UUID.pattern}|\d{{1,10}}')
_DEVICE = re.compile(r'/dev/[\w/.-]+')

#: How many broken lines are named.
NAMED = 20

_ATTACHED = """
SELECT d.volume, d.server, d.device_name, d.source FROM devices AS d
WHERE d.volume IS NOT NULL AND d.boot_index IS NOT 0
AND d.device_name IS NOT (
    -- up to Havana only the server says which one is the root
    SELECT s.root_device_name FROM servers AS s
    WHERE s.uuid = d.server AND d.boot_index IS NULL)
ORDER BY d.server, length(d.device_name), d.device_name, d.volume
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """One volume that is to be attached.

    :ivar number: of its line in the file, from 1
    """

    number: int
    volume: str
    server: str
    device: str


def lines(
    snapshot: Snapshot, sources: Collection[str] | None = None
) -> Iterator[str]:
    """The lines for all data volumes, by server, in the order of devices.

    :param sources: only what these have, such as ``cell:cell1``; None: all
    :raises RecoveryError: the snapshot has no whole record of them
    """
    parts = [
        p
        for p in snapshot.parts
        if p.section == 'devices' and (sources is None or p.source in sources)
    ]
    unknown = [p for p in parts if p.state == format_module.UNKNOWN]
    if unknown or not parts:
        raise RecoveryError(
            f'snapshot {snapshot.path}: what is attached is not known'
            + ''.join(f' of {p.source} ({p.detail})' for p in unknown)
        )
    with snapshot.reading():
        for volume, server, device, source in snapshot.file.execute(_ATTACHED):
            if sources is None or source in sources:
                yield f'{volume} {server} {device or "auto"}\n'


def load(path: str) -> list[Line]:
    """Read a map file; blank lines and comments (#) are skipped.

    :raises RecoveryError: it can't be read, or lines are broken; each is
        named by its number
    """
    try:
        with open(path, 'rb') as file:
            found = [
                (number, line)
                for number, line in enumerate(file.read().split(b'\n'), 1)
            ]
    except (OSError, ValueError) as error:
        # ValueError: a NUL in its name
        why = getattr(error, 'strerror', error)
        raise RecoveryError(
            f"map file {path}: can't be read: {why}"
        ) from error
    read: list[Line] = []
    broken: list[str] = []
    volumes: dict[tuple[str, str], int] = {}
    devices: dict[tuple[str, str], int] = {}
    for number, raw in found:
        try:
            text = raw.decode().strip()
            if not text or text.startswith('#'):
                continue
            line = _line(number, text)
            _once(volumes, (line.volume, line.server), line, 'volume')
            if line.device != 'auto':
                _once(devices, (line.device, line.server), line, 'device')
        except UnicodeDecodeError:
            broken.append(f'line {number}: not UTF-8')
        except ValueError as error:
            broken.append(f'line {number}: {error}')
        else:
            read.append(line)
    if broken:
        more = len(broken) - NAMED
        raise RecoveryError(
            f'map file {path}: '
            + '; '.join(broken[:NAMED])
            + (f'; and {more} more' if more > 0 else '')
        )
    return read


def _line(number: int, text: str) -> Line:
    words = text.split()
    if len(words) != 3:
        raise ValueError(
            f'{len(words)} words instead of "volume instance mountpoint"'
        )
    volume, server = words[0].lower(), words[1].lower()
    if not _VOLUME.fullmatch(volume):
        raise ValueError(f'{words[0]!r} is no id of a volume')
    if not _UUID.fullmatch(server):
        raise ValueError(f'{words[1]!r} is no UUID of a server')
    if words[2] != 'auto' and not _DEVICE.fullmatch(words[2]):
        raise ValueError(f'{words[2]!r} is no device such as /dev/vdb')
    return Line(number, volume, server, words[2])


def _once(
    seen: dict[tuple[str, str], int],
    what: tuple[str, str],
    line: Line,
    noun: str,
) -> None:
    if what in seen:
        raise ValueError(
            f'{noun} {what[0]} of server {what[1]} is in line {seen[what]} '
            f'already'
        )
    seen[what] = line.number
