# SPDX-License-Identifier: Apache-2.0

"""One change on the real tables of a cloud, as a runner calls it."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any
from unittest import mock

from nova_recovery.cloud.api.compute import Compute
from nova_recovery.cloud.api.network import Network
from nova_recovery.cloud.api.placement import Placement
from nova_recovery.cloud.api.volume import Volume
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.databases import CellDatabase, Databases
from nova_recovery.engine.change import At, Observed, State
from nova_recovery.engine.plan import Item
from tests.base import TestCase
from tests.unit.at import at
from tests.unit.tables import Real

UUID = '3f57699a-e773-4650-a443-b4b37eed5a06'
VOLUME = '8a3b9a4e-1f5f-4b52-9b0c-0d2c6e1f7a11'
NOVA = (
    'block_device_mapping',
    'compute_nodes',
    'console_auth_tokens',
    'instance_actions',
    'instance_actions_events',
    'instance_faults',
    'instance_system_metadata',
    'instances',
    'migrations',
    'services',
    'shadow_task_log',
    'tags',
    'task_log',
)
CINDER = ('volumes', 'volume_attachment', 'volume_admin_metadata')


class Cloud:
    """The databases of a release; APIs that answer what a test says."""

    def __init__(self, nova: str, cinder: str) -> None:
        # Essex had the volumes in nova
        self.cell = Real(nova, (*NOVA, *CINDER), 'cell1')
        self.cinder = Real(cinder, CINDER, 'cinder')
        cell: Any = CellDatabase(Cell('', 'cell1', ''), self.cell)
        self.databases = Databases(None, [cell], self.cinder)
        self.conf = mock.Mock()

    # each takes milliseconds to make, and a test needs one or two

    @functools.cached_property
    def compute(self) -> Any:
        return mock.create_autospec(Compute, instance=True)

    @functools.cached_property
    def network(self) -> Any:
        return mock.create_autospec(Network, instance=True)

    @functools.cached_property
    def placement(self) -> Any:
        return mock.create_autospec(Placement, instance=True)

    @functools.cached_property
    def volume(self) -> Any:
        return mock.create_autospec(Volume, instance=True)

    def close(self) -> None:
        self.cell.engine.dispose()
        self.cinder.engine.dispose()


class ChangeTestCase(TestCase):
    """Calls a change in the order in which the runner does.

    :ivar change: set by a subclass
    :ivar item: what it is done to
    :ivar begun: where it is, with what the journal has by then
    """

    change: Any
    item: Item
    begun: At[Any]
    NOVA, CINDER = 'nova34-nova', 'nova34-cinder'

    def setUp(self) -> None:
        super().setUp()
        self.cloud = Cloud(self.NOVA, self.CINDER)
        self.addCleanup(self.cloud.close)
        self.cell, self.cinder = self.cloud.cell, self.cloud.cinder

    def make_item(self, subject: str, **data: Any) -> None:
        kind = self.change.kind
        self.item = Item(f'{kind}:{subject}', kind, subject, 'web', data)

    def add_server(self, **values: Any) -> None:
        row = {
            'id': 1, 'uuid': UUID, 'host': 'np-rcc54', 'deleted': 0,
            'vm_state': 'active', 'power_state': 1, 'task_state': None,
            'node': 'np-rcc54.example.org', 'locked': 0,
        }  # fmt: skip
        self.cell.add('instances', **{**row, **values})

    def set_server(self, **values: Any) -> None:
        """By somebody else."""
        self.cell.set('instances', **values)

    def at(self, **more: Any) -> At[Any]:
        return at(self.item, self.cloud, **more)

    def while_it_waits(self, *happens: Callable[[], object]) -> None:
        """What happens in each wait of the change; then it would be for ever.

        No time passes.
        """
        left = list(happens)

        def wait(seconds: float) -> bool:
            if not left:
                raise AssertionError('it waits for ever')
            left.pop(0)()
            return False

        self.begun.stopping = mock.Mock(wait=wait)
        self.begun.draining = mock.Mock(wait=wait)

    # as the runner calls it

    def look(self) -> Observed:
        """Before anything was written down."""
        seen: Observed = self.change.observe(self.at())
        return seen

    def begin(self, **more: Any) -> None:
        """The intent is in the journal."""
        seen = self.look()
        self.assertIs(State.BEFORE, seen.state, seen.detail)
        self.begun = self.at(image=seen.image, **more)

    def apply(self) -> str:
        self.begin()
        return str(self.change.apply(self.begun))

    def look_again(self) -> Observed:
        seen: Observed = self.change.observe(self.begun)
        return seen

    def revert(self) -> str:
        return str(self.change.revert(self.begun))

    def assert_seen(
        self, state: State, words: str = '', again: bool = False
    ) -> None:
        """How things stand.

        :param again: it was begun
        """
        seen = self.look_again() if again else self.look()
        self.assertIs(state, seen.state, seen.detail)
        self.assertIn(words, seen.detail)

    def assert_refused(
        self, error: type[Exception], act: Any, words: str = ''
    ) -> None:
        """A no, by which nothing was changed in the databases."""
        before = self.everything()
        self.assertIn(words, str(self.assertRaises(error, act)))
        self.assertEqual(before, self.everything())

    def everything(self) -> dict[str, Any]:
        """All rows, but for when they were touched."""
        return {
            f'{database.name}.{table}': [
                {k: v for k, v in row.items() if k != 'updated_at'}
                for row in database.rows(table)
            ]
            for database in (self.cell, self.cinder)
            for table in (*NOVA, *CINDER)
            if database.has(table)
        }
