# SPDX-License-Identifier: Apache-2.0

"""Values in the XML of a guest are exchanged, on its host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import json
from typing import Any

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict

#: The places as the agent calls them, for people.
_PLACES = {
    'config': 'in its persistent XML',
    'live': 'as it runs',
    'file': 'in its libvirt.xml',
}


class SetGuest(BaseChange):
    """Where its console listens, and DHCPSERVER.

    Data: host, machine_id, home, uuid; edits: place (config, live or file),
    what (vnc, or a MAC), as it was, as it shall be. The host compares again
    right before. The whole XML as it was is kept in a file, for people; what
    goes back are the values, so that what else changed meanwhile stays.
    """

    kind = 'set-guest'

    def describe(self, item: Item) -> list[str]:
        return [
            f'~ {_told(what)}  {was} -> {shall}  {_PLACES[place]}'
            for place, what, was, shall in item.data['edits']
        ]

    def observe(self, at: At) -> Observed:
        words = {'server': at.data['uuid'], 'whole': True}
        found = on_host.ask(at, 'guests show', words)['guest']
        if found is None:
            return Observed.neither(f'{at.data["host"]} has it no more')
        begun = []
        for place, what, was, shall in at.data['edits']:
            now = _value(found, place, what)
            if now is None and place == 'live':
                # it has ended: its next start takes what is defined
                continue
            if now not in (was, shall):
                return Observed.neither(
                    f'{_told(what)} {_PLACES[place]} is {now or "not there"}, '
                    f'it was {was}'
                )
            begun.append(now == shall)
        if begun and all(begun):
            return Observed.after('it is so already')
        text = json.dumps(found['xml'], indent=1, sort_keys=True)
        return Observed.before(
            {'edits': at.data['edits']}, aside=[text.encode()]
        )

    def apply(self, at: At) -> str:
        return _set(at, at.data['edits'])

    def revert(self, at: At) -> str:
        back = [
            (place, what, shall, was)
            for place, what, was, shall in at.data['edits']
        ]
        try:
            _set(at, back)
        except ChangeFailed as error:
            # the host compares: nothing was changed
            raise Conflict(str(error)) from error
        return 'as it was'


def _told(what: str) -> str:
    return 'VNC' if what == 'vnc' else f'DHCPSERVER of {what}'


def _value(found: Mapping[str, Any], place: str, what: str) -> str | None:
    """None where the place or the thing is not there."""
    values = found[place]
    return None if values is None else values.get(what)


def _set(at: At, edits: Iterable[Iterable[str]]) -> str:
    words = {
        'server': at.data['uuid'],
        'edit': [','.join(edit) for edit in edits],
    }
    found = on_host.ask(at, 'guests set', words)['guest']
    listens = (found['live'] or {}).get('vnc')
    later = found['config'].get('vnc')
    if listens and listens != later:
        return f'set; until a power cycle its console listens on {listens}'
    return 'set'
