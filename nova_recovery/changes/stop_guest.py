# SPDX-License-Identifier: Apache-2.0

"""A guest is ended on a host: where it should not run, or for a drill."""

from __future__ import annotations

from nova_recovery import program
from nova_recovery.changes import cell, on_host
from nova_recovery.changes.base import At, OneWay
from nova_recovery.engine.change import Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict, NotFound


class StopGuest(OneWay):
    """At once, as a power cut would. It stays defined.

    Data: host, machine_id, home, uuid; and cell, where the row of its server
    is, None where nova has none. A plan of an earlier version does not name
    it: what its gates saw is all that is known then.
    """

    kind = 'stop-guest'
    confirms = True

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
        _check_row(at)
        words = {'server': at.data['uuid']}
        at.confirm()
        if not on_host.ask(at, 'guests stop', words)['stopped']:
            raise Conflict('it has ended meanwhile')
        return 'ended'

    def no_way_back(self, item: Item) -> str:
        return (
            f'guest {item.data["uuid"]} was ended where nova does not have '
            'it; nova starts it where it has it'
        )


class CutGuest(StopGuest):
    """The guest of a canary loses its power, where nova has it.

    Data: host, machine_id, home, uuid. Nova is not told.
    """

    kind = 'cut-guest'

    def observe(self, at: At) -> Observed:
        found = super().observe(at)
        if found.state is State.AFTER and not at.begun:
            # nobody took its power: its sessions are not closed, either
            return Observed.neither('it does not run there any more')
        return found

    def apply(self, at: At) -> str:
        at.confirm()
        if not on_host.ask(at, 'guests stop', {'server': at.data['uuid']})[
            'stopped'
        ]:
            raise Conflict('it has ended meanwhile')
        return 'it lost its power'

    def no_way_back(self, item: Item) -> str:
        return (
            'it lost its power; it is brought back forward: '
            + program.call(f'drill power-loss --server {item.data["uuid"]}')
        )


def _check_row(at: At) -> None:
    """That nova does not have it there by now, such as by an adoption.

    :raises Conflict: it does; nothing was sent
    """
    if at.data.get('cell') is None:
        return
    database = cell.database(at)
    with database.reader() as connection:
        try:
            row = cell.instance(connection, database, at.data['uuid'])
        except NotFound:
            # deleted since: it runs where nova has nothing
            return
    if row['host'] == at.data['host']:
        raise Conflict(
            f'nova has it on {row["host"]} by now: have nova stop it: '
            f'openstack server stop {at.data["uuid"]}'
        )
