# SPDX-License-Identifier: Apache-2.0

"""A guest is ended on a host, where it should not run."""

from __future__ import annotations

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, OneWay
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict


class StopGuest(OneWay):
    """At once, as a power cut would. It stays defined.

    Data: host, machine_id, home, uuid.
    """

    kind = 'stop-guest'

    def describe(self, item: Item) -> list[str]:
        return [f'- {item.data["uuid"]} on {item.data["host"]}, at once']

    def observe(self, at: At) -> Observed:
        found = on_host.ask(at, 'guests list')
        uuid = at.data['uuid']
        active = {
            row['uuid'] for row in found['domains'] or () if row['active']
        }
        if uuid in active:
            return Observed.before()
        if uuid not in {row['uuid'] for row in found['processes']}:
            return Observed.after('it does not run there')
        why = found['why'] or 'libvirt does not have it running'
        return Observed.unknown(f'its process is there; {why}')

    def apply(self, at: At) -> str:
        words = {'server': at.data['uuid']}
        if not on_host.ask(at, 'guests stop', words)['stopped']:
            raise Conflict('it has ended meanwhile')
        return 'ended'

    def no_way_back(self, item: Item) -> str:
        return (
            f'guest {item.data["uuid"]} was ended where nova does not have '
            'it; nova starts it where it has it'
        )
