# SPDX-License-Identifier: Apache-2.0

"""The many names of a server, and what each of them could mean."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from oslo_utils import uuidutils

from nova_recovery.compat import pairs

# One conversion of a template: %(uuid)s, %08x, %d …; %% is a percent sign
_CONVERSION = re.compile(r'%%|%(?:\((\w+)\))?[#0\- +]*\d*(?:\.\d+)?([diosxX])')

_BASES = {'d': 10, 'i': 10, 'o': 8, 'x': 16, 'X': 16}

_DIGITS = {
    's': '.+',
    'd': r'\d+',
    'i': r'\d+',
    'o': '[0-7]+',
    'x': '[0-9a-f]+',
    'X': '[0-9A-F]+',
}

# ids are at most 2**31 - 1: longer ones are names, not numbers
_DECIMAL = re.compile(r'\d{1,10}')
_HEXADECIMAL = re.compile(r'0x([0-9a-f]{1,8})', re.IGNORECASE)
_EC2 = re.compile(r'i-([0-9a-f]{8})', re.IGNORECASE)
_DEFAULT_NAME = re.compile(r'instance-([0-9a-f]{8})', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Meaning:
    """One thing that a name could mean.

    :ivar column: of ``instances``; ``ec2`` stands for the id in
        ``instance_id_mappings``
    :ivar value: what must stand there
    """

    column: str
    value: str | int


def meanings(text: str, template: str) -> list[Meaning]:
    """Return everything that a word of the operator could mean.

    A UUID means nothing else. Everything else could be a display name too;
    a number an id, in hexadecimal with ``0x``; ``instance-000015b9`` the
    name in the hypervisor; ``i-000015b9`` that of EC2.

    :param template: nova's ``instance_name_template``
    """
    if uuidutils.is_uuid_like(text):
        return [Meaning('uuid', text.strip().lower())]
    found = [Meaning('display_name', text)]
    if _DECIMAL.fullmatch(text):
        found.append(Meaning('id', int(text)))
    for pattern, column in (
        (_HEXADECIMAL, 'id'),
        (_DEFAULT_NAME, 'id'),
        (_EC2, 'ec2'),
    ):
        match = pattern.fullmatch(text)
        if match:
            found.append(Meaning(column, int(match.group(1), 16)))
    made = _from_template(text, template)
    if made is not None and made not in found:
        found.append(made)
    return found


def instance_name(template: str, row: Mapping[str, Any]) -> str:
    """Return a server's name in the hypervisor, as nova makes it.

    nova/objects/instance.py: ``name``: the id, if the template takes one
    value without a name, else the columns by name; the UUID if a column is
    not there.
    """
    try:
        return template % row['id']
    except TypeError:
        pass
    try:
        return template % dict(row)
    except KeyError:
        return str(row['uuid'])


def _from_template(text: str, template: str) -> Meaning | None:
    """Return what a name that the template made tells of its server."""
    pattern = ''
    conversions: list[tuple[str, str, str]] = []
    end = 0
    for match in _CONVERSION.finditer(template):
        pattern += re.escape(template[end : match.start()])
        end = match.end()
        if match.group() == '%%':
            pattern += '%'
            continue
        column, kind = match.group(1) or 'id', match.group(2)
        plain = match.group().replace(f'({match.group(1)})', '')
        conversions.append((column, kind, plain))
        pattern += f'( *{_DIGITS[kind]})'
    pattern += re.escape(template[end:])
    match_text = re.fullmatch(pattern, text)
    if match_text is None:
        return None
    values: dict[str, str | int] = {}
    for (column, kind, plain), part in pairs(conversions, match_text.groups()):
        value: str | int = part
        if kind != 's':
            value = int(part, _BASES[kind])
        elif column == 'id':
            if not _DECIMAL.fullmatch(part):
                return None
            value = int(part)
        if plain % value != part:
            # 15b is not what %08x makes
            return None
        values[column] = value
    # any one column finds it; those that are unique come first
    for column in ('uuid', 'id', *values):
        if column in values:
            return Meaning(column, values[column])
    return None
