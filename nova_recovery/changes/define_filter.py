# SPDX-License-Identifier: Apache-2.0

"""A network filter of libvirt is defined on a host."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
from typing import Any
from xml.etree import ElementTree  # nosec B405

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict, OutcomeUnknown


class DefineFilter(BaseChange):
    """As nova would, with the UUID that it has, or gets.

    Data: host, machine_id, home, name, uuid, there (it was defined when the
    plan was made), xml, guests (that it is needed for). The image is its XML
    as it was, None where it was not defined. libvirt carries it out at once
    for guests that run.
    """

    kind = 'define-filter'

    def describe(self, item: Item) -> list[str]:
        data = item.data
        sign = '~' if data['there'] else '+'
        lines = [f'{sign} filter {data["name"]}  {data["uuid"]}']
        made = [one.get('filter', '') for one in _parsed(data['xml'])]
        if any(made):
            lines.append(f'  of {", ".join(filter(None, made))}')
        if data['guests']:
            lines.append(f'  for {", ".join(data["guests"])}')
        return lines

    def observe(self, at: At) -> Observed:
        now = _now(at)
        if now is None:
            if at.data['there']:
                return Observed.neither('it is not defined any more')
            return Observed.before({'xml': None})
        if same(at.data['xml'], now):
            return Observed.after('it is defined so')
        if not at.data['there']:
            return Observed.neither('somebody else defined it meanwhile')
        if _uuid(now) != at.data['uuid']:
            return Observed.neither(f'its UUID is {_uuid(now)} by now')
        if at.begun and now != at.image['xml']:
            return Observed.neither('somebody else changed it')
        return Observed.before({'xml': now})

    def apply(self, at: At) -> str:
        _order(at, 'define', at.image['xml'], at.data['xml'])
        return 'defined'

    def revert(self, at: At) -> str:
        now, was = _now(at), at.image['xml']
        if now == was:
            return 'it is as it was'
        if now is None or not same(at.data['xml'], now):
            raise Conflict(f'{at.data["name"]} is another one by now')
        try:
            if was is None:
                _order(at, 'undefine', now)
            else:
                _order(at, 'define', now, was)
        except ChangeFailed as error:
            # such as one that a guest that runs needs
            raise Conflict(str(error)) from error
        return 'as it was'


def same(ours: str, theirs: str) -> bool:
    """Whether libvirt has a filter as we gave it; it adds its defaults."""
    return _within(_parsed(ours), _parsed(theirs))


def _within(one: ElementTree.Element, other: ElementTree.Element) -> bool:
    if one.tag != other.tag or len(one) != len(other):
        return False
    if (one.text or '').strip() != (other.text or '').strip():
        return False
    return one.attrib.items() <= other.attrib.items() and all(
        map(_within, one, other)
    )


def _parsed(text: str) -> ElementTree.Element:
    """:raises OutcomeUnknown: it is no XML"""
    try:
        return ElementTree.fromstring(text)  # nosec B314
    except ElementTree.ParseError as error:
        raise OutcomeUnknown(
            'the XML of the filter can not be read'
        ) from error


def _uuid(text: str) -> str | None:
    return _parsed(text).findtext('uuid')


def _now(at: At) -> str | None:
    """Its XML; None where it is not defined.

    :raises OutcomeUnknown: libvirt does not tell
    """
    found: Mapping[str, Any] = on_host.ask(
        at, 'filters list', {'name': at.data['name']}
    )
    if found['filters'] is None:
        raise OutcomeUnknown(f'libvirt does not tell: {found["why"]}')
    return next((str(one['xml']) for one in found['filters']), None)


def _order(at: At, verb: str, was: str | None, xml: str | None = None) -> None:
    """:raises ChangeFailed: it is not as it was, or in use"""
    digest = '' if was is None else hashlib.sha256(was.encode()).hexdigest()
    words = {'name': at.data['name'], 'was': digest, 'xml': xml}
    on_host.ask(at, f'filters {verb}', words)
