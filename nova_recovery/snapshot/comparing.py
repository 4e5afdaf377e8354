# SPDX-License-Identifier: Apache-2.0

"""What is different between two snapshots, found by SQLite on the files.

Neither is read into memory: each section is joined with itself by its key.
What one of the two doesn't know is told as unknown, never as gone.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import difflib
import sqlite3
from typing import Any

from nova_recovery.compat import pairs
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import reading
from nova_recovery.snapshot.format import Section
from nova_recovery.snapshot.reading import Snapshot

GONE, NEW, UNKNOWN = 'gone', 'new', 'unknown'


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.

    :ivar code: such as ``server-moved``, ``volume-status``,
        ``attachment-gone``; ``unknown`` where one of the two doesn't know
    :ivar subject: its key, such as a UUID
    :ivar name: what people call it
    """

    code: str
    section: str
    source: str
    subject: str
    name: str
    before: str
    after: str


def differences(before: Snapshot, after: Snapshot) -> Iterator[Difference]:
    """Everything that is different, section by section.

    :raises RecoveryError: one of them is damaged
    """
    both = sqlite3.connect('file::memory:', uri=True)
    with contextlib.closing(both):
        with reading.readable(f'{before.path} or {after.path}'):
            for name, snapshot in (('a', before), ('b', after)):
                both.execute(
                    'ATTACH DATABASE ? AS ' + name,
                    (reading.uri(snapshot.path),),
                )
            for section in format_module.SECTIONS.values():
                yield from _unknown(section, before, after)
                if not (before.has(section.name) and after.has(section.name)):
                    # an older file may lack the table
                    continue
                yield from _gone(both, section, 'a', 'b', GONE)
                yield from _gone(both, section, 'b', 'a', NEW)
                yield from _changed(both, section)


def _unknown(
    section: Section, before: Snapshot, after: Snapshot
) -> Iterator[Difference]:
    """What only one of them has read, or neither; not a host at a time."""
    states = [
        {
            p.source: (p.state, p.detail)
            for p in snapshot.parts
            if p.section == section.name
        }
        for snapshot in (before, after)
    ]
    for source in sorted({*states[0], *states[1]}):
        words = [_state(state.get(source)) for state in states]
        if words[0] == words[1] == '':
            continue
        yield Difference(
            UNKNOWN, section.name, source, source, '', words[0], words[1]
        )


def _state(part: tuple[str, str] | None) -> str:
    if part is None:
        return 'not in this snapshot'
    state, detail = part
    if state == format_module.UNKNOWN:
        return f'unknown: {detail}'
    return ''


def _comparable(table: str) -> str:
    """SQL: rows of sources that both files know."""
    return ' AND '.join(
        f'EXISTS (SELECT 1 FROM {file}.parts AS p'  # nosec B608
        f" WHERE p.section = '{table}' AND p.source = x.source"
        f" AND p.state != '{format_module.UNKNOWN}')"
        for file in ('a', 'b')
    )


def _same(section: Section) -> str:
    return ' AND '.join(f'x.{name} IS y.{name}' for name in section.key)


def _subject(section: Section) -> str:
    return ', '.join(f'x.{name}' for name in (*section.key, section.label))


def _gone(
    both: sqlite3.Connection, section: Section, here: str, there: str, how: str
) -> Iterator[Difference]:
    described = [n for n in _described(section) if n not in section.key]
    picked = ''.join(f', x.{name}' for name in described)
    for row in both.execute(
        f'SELECT {_subject(section)}{picked}'  # nosec B608
        f' FROM {here}.{section.name} AS x'
        f' WHERE NOT EXISTS (SELECT 1 FROM {there}.{section.name} AS y'
        f' WHERE {_same(section)}) AND {_comparable(section.name)}'
        f' ORDER BY x.rowid'
    ):
        source, subject, name = _who(section, row)
        text = _words(described, row[len(section.key) + 1 :])
        yield Difference(
            f'{section.noun}-{how}',
            section.name,
            source,
            subject,
            name,
            text if how == GONE else '',
            text if how == NEW else '',
        )


def _described(section: Section) -> list[str]:
    names = [n for some in section.compared.values() for n in some]
    return [
        name
        for name in dict.fromkeys(names)
        if name not in format_module.LONG and name != section.label
    ]


def _changed(
    both: sqlite3.Connection, section: Section
) -> Iterator[Difference]:
    compared = list(
        dict.fromkeys(n for some in section.compared.values() for n in some)
    )
    if not compared:
        return
    start = len(section.key) + 1
    picked = ', '.join(f'x.{n}, y.{n}' for n in compared)
    unequal = ' OR '.join(f'x.{n} IS NOT y.{n}' for n in compared)
    for row in both.execute(
        f'SELECT {_subject(section)}, {picked}'  # nosec B608
        f' FROM a.{section.name} AS x JOIN b.{section.name} AS y'
        f' ON {_same(section)}'
        f' WHERE ({unequal}) AND {_comparable(section.name)}'
        f' ORDER BY x.rowid'
    ):
        source, subject, name = _who(section, row)
        values = dict(
            pairs(compared, pairs(row[start::2], row[start + 1 :: 2]))
        )
        for code, columns in section.compared.items():
            changed = [c for c in columns if values[c][0] != values[c][1]]
            if not changed:
                continue
            if changed[0] in format_module.LONG:
                before, after = _lines(*values[changed[0]])
            else:
                before = _words(changed, [values[c][0] for c in changed])
                after = _words(changed, [values[c][1] for c in changed])
            yield Difference(
                code, section.name, source, subject, name, before, after
            )


def _who(section: Section, row: Any) -> tuple[str, str, str]:
    """The source, the key and the name in a row."""
    count = len(section.key)
    subject = ' '.join(str(v) for v in row[1:count] if v is not None)
    label = row[count]
    return row[0], subject, '' if label is None else str(label)


def _words(names: list[str], values: Any) -> str:
    return ', '.join(
        f'{name} {"-" if value is None else value}'
        for name, value in pairs(names, values)
    )


def _lines(before: Any, after: Any) -> tuple[str, str]:
    """Of two long texts only the lines that differ."""
    one, other = str(before or '').splitlines(), str(after or '').splitlines()
    changed = list(difflib.unified_diff(one, other, n=0, lineterm=''))[2:]
    return (
        '\n'.join(s[1:] for s in changed if s.startswith('-')),
        '\n'.join(s[1:] for s in changed if s.startswith('+')),
    )
