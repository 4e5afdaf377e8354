# SPDX-License-Identifier: Apache-2.0

"""One dead host for all tests of a class, and servers for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent import futures
from typing import Any, ClassVar
import uuid as uuid_module

from nova_recovery.compat import pairs
from tests.cloud import services
from tests.functional.recovered import Before, RecoveredTest

DEAD, TARGET = 'host1', 'host2'


class DeadHostTest(RecoveredTest):
    """It costs a minute to kill a host and to bring it back: once a class.

    :cvar wanted: name -> options of ``PracticeCloud.create_server``; each
        server is for one test, by ``self.server(name)``
    """

    wanted: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    _made: ClassVar[dict[str, Before]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._made = {}
        if not cls.wanted:
            return
        tail = uuid_module.uuid4().hex[:6]
        with futures.ThreadPoolExecutor(4) as pool:
            made = list(
                pool.map(
                    lambda item: cls.practice.create_server(
                        f'{item[0]}-{tail}', host=DEAD, **item[1]
                    ),
                    cls.wanted.items(),
                )
            )
        uuids = [server.id for server in made]
        cls.addClassCleanup(cls._clean_up, uuids)
        for name, uuid in pairs(cls.wanted, uuids):
            cls._made[name] = Before(
                cls.state.row(uuid),
                cls.state.devices(uuid),
                cls.state.actions(uuid),
            )
        cls.practice.power_loss(DEAD)
        cls.practice.wait_compute_down(DEAD)

    @classmethod
    def _clean_up(cls, uuids: list[str]) -> None:
        cls.practice.start(services.compute(DEAD))
        cls.state.set_service(DEAD, status='enabled', forced_down=False)
        cls.practice.wait_compute_up(DEAD)
        with futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(cls.practice.delete_server, uuids))

    def setUp(self) -> None:
        super().setUp()
        # nothing of what another test did, or failed to do, but: it is dead
        self.practice.sql(
            'nova',
            'UPDATE services SET disabled = 0, disabled_reason = NULL,'
            ' forced_down = 0 WHERE host = %s',
            [DEAD],
        )

    def server(self, name: str) -> Before:
        """What is to be brought back of one of ``wanted``."""
        return self._made[name]

    def words(self, *servers: Before) -> tuple[Any, ...]:
        """The command that recovers servers on the target."""
        return (
            'server', 'recover', *(one.uuid for one in servers),
            '--target-host', TARGET, '--shared-storage', '--connector',
            self.connector(TARGET), '--fenced', 'PDU port 14 is off',
        )  # fmt: skip
