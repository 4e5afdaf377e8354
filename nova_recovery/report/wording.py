# SPDX-License-Identifier: Apache-2.0

"""How times, numbers and the names that tenants chose are written."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
import datetime
import os
import re
import textwrap
from typing import Any, Union

from nova_recovery.compat import utc
from nova_recovery.engine import printable

#: Said here too, since whoever words something has to.
clean = printable.clean

#: Of servers, volumes and attachments.
UUID = re.compile(
    r'\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b'
)
#: So many digits of a UUID, if they tell all of an answer apart.
SHORT = 8

Time = Union[datetime.datetime, str, None]

#: How a command begins: the programs that are advised somewhere.
_TYPED = (
    'UPDATE ',
    'chmod ',
    'chronyc ',
    'install ',
    'iscsiadm ',
    'multipath ',
    'nova-manage ',
    'nova-recovery ',
    'openstack ',
    'rabbitmqctl ',
    'rm ',
    'systemctl ',
    'umount ',
    'virsh ',
)

#: A command within a sentence, and what holds it together there.
_QUOTED = re.compile(
    # in quotes; or behind a colon, up to where the sentence or all ends
    r'"(?:{0})[^"]*"|(?<=: )(?:{0})(?:(?!\. )[^;])*(?=;|$)'.format(
        '|'.join(one for one in _TYPED if one != 'rm ')
    )
)
_JOINED = '\N{NO-BREAK SPACE}'


def count(number: int, noun: str) -> str:
    """``1 server``, ``4 servers``."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def noun_of(subjects: Sequence[str]) -> str:
    """What ``server:UUID``, ``server:UUID`` are: ``server``.

    ``item`` if they are of several kinds or the same one several times.
    """
    kinds = {subject.partition(':')[0] for subject in subjects}
    if len(set(subjects)) < len(subjects):
        return 'item'
    kind = kinds.pop() if len(kinds) == 1 else 'item'
    return kind if kind.isalpha() else 'item'


def identifier(subject: str, label: str) -> str:
    """The part of the subject that the label doesn't say already."""
    _, _, name = subject.partition(':')
    return '' if name == label else name or subject


def abbreviated(texts: Iterable[str]) -> dict[str, str]:
    """UUID -> its first digits, or all of it where they aren't enough.

    :param texts: everything in which they are to be told apart
    """
    whole = {uuid for text in texts for uuid in UUID.findall(text)}
    first = collections.Counter(uuid[:SHORT] for uuid in whole)
    return {
        uuid: uuid[:SHORT] if first[uuid[:SHORT]] == 1 else uuid
        for uuid in whole
    }


def shortened(text: str, short: Mapping[str, str]) -> str:
    """The text with its UUIDs as :func:`abbreviated` has them."""
    return UUID.sub(lambda found: short.get(found[0], found[0]), text)


def kept(file: Mapping[str, Any]) -> str:
    """A before-image in a file, as ``engine.images`` names it."""
    return (
        f'{file["path"]} on {file["machine"]}, {file["size"]:,} bytes, '
        f'SHA-256 {file["sha256"][:16]}…'
    )


def moment(time: Time) -> datetime.datetime | None:
    """A time of the journal or of a plan, in UTC; None if there is none."""
    if isinstance(time, str):
        try:
            time = utc(time)
        except ValueError:
            return None
    if time is None:
        return None
    if time.tzinfo is None:
        return time.replace(tzinfo=datetime.timezone.utc)
    return time.astimezone(datetime.timezone.utc)


def stamp(time: Time) -> str:
    """``2026-03-01 14:02:11Z``, or ``''``."""
    at = moment(time)
    return at.strftime('%Y-%m-%d %H:%M:%SZ') if at else ''


def clock(time: Time, day: Time) -> str:
    """``14:02:11Z``, with its date if that is not the day's; or ``''``."""
    at, first = moment(time), moment(day)
    if at is None:
        return ''
    same = first is not None and at.date() == first.date()
    return at.strftime('%H:%M:%SZ' if same else '%Y-%m-%d %H:%M:%SZ')


def iso(time: Time) -> str:
    """``2026-03-01T14:02:11.000Z``, as the journal has it, or ``''``."""
    at = moment(time)
    if at is None:
        return ''
    return at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def span(start: Time, end: Time) -> str:
    """How long it took: ``4 s``, ``9 min``; ``''`` if it isn't known."""
    first, last = moment(start), moment(end)
    if first is None or last is None:
        return ''
    return _length((last - first).total_seconds())


def ago(time: Time, now: Time = None) -> str:
    """``14:02:11Z, 9 min ago``; with its date if that isn't today's."""
    at = moment(time)
    if at is None:
        return ''
    present = moment(now) or datetime.datetime.now(datetime.timezone.utc)
    shape = (
        '%H:%M:%SZ' if at.date() == present.date() else '%Y-%m-%d %H:%M:%SZ'
    )
    seconds = (present - at).total_seconds()
    if seconds < 0:
        return f'{at.strftime(shape)}, {_length(-seconds)} ahead of this clock'
    return f'{at.strftime(shape)}, {_length(seconds)} ago'


def _length(seconds: float) -> str:
    for unit, size in (('d', 86400), ('h', 3600), ('min', 60)):
        if seconds >= 2 * size or (unit == 'd' and seconds >= size):
            return f'{int(seconds // size)} {unit}'
    return f'{max(int(seconds), 0)} s'


def duration(seconds: float) -> str:
    """To the second below an hour: ``4 s``, ``9 min 12 s``, ``2 h 05 min``."""
    whole = max(int(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f'{days} d {hours} h'
    if hours:
        return f'{hours} h {minutes:02} min'
    return f'{minutes} min {rest:02} s' if minutes else f'{rest} s'


def is_command(text: str) -> bool:
    """Whether a text is to be typed as it is, and so is never divided."""
    return text.startswith(_TYPED)


def wrap(text: str, head: str, width: int) -> list[str]:
    """The text behind ``head``, further lines as far in.

    No word is divided, and no command in quotes: a UUID that fits on no line
    sticks out.
    """
    room = max(width - len(head), 30)
    lines = textwrap.wrap(
        _QUOTED.sub(lambda one: one[0].replace(' ', _JOINED), clean(text)),
        room,
        break_long_words=False,
        break_on_hyphens=False,
    )
    pad = ' ' * len(head)
    return [
        (pad if number else head) + line.replace(_JOINED, ' ')
        for number, line in enumerate(lines or [''])
    ]


def columns(stream: Any) -> int:
    """Those of a terminal; 0 for what is none, or doesn't say."""
    try:
        if stream.isatty():
            # rich asks stdin, which may be another terminal or none
            return os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        pass
    return 0


def fitted(text: str, stream: Any) -> str:
    """A message as it fits the terminal, if the stream is one.

    A line that is a command, or one of a list, stays whole.
    """
    width = columns(stream)
    if not width:
        return text
    return '\n'.join(
        line
        if line.startswith(' ') or is_command(line)
        else '\n'.join(wrap(line, '', width))
        for line in text.split('\n')
    )
