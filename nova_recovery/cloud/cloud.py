# SPDX-License-Identifier: Apache-2.0

"""The cloud as one thing: its databases and, when first needed, its APIs."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any

from oslo_config import cfg

from nova_recovery.cloud.api import compute, network, placement, volume
from nova_recovery.cloud.db import databases as databases_module
from nova_recovery.cloud.db.databases import Databases
from nova_recovery.cloud.settings import (
    CinderSettings,
    NovaSettings,
    read_cinder,
    read_nova,
)
from nova_recovery.exceptions import ConfigError


class Cloud:
    """What procedures read and changes write.

    :param conf: our own configuration
    :param connect: gives an openstacksdk connection; called when an API is
        needed for the first time, so that what only uses the databases
        works while Keystone is down
    :param reach: gives the fleet of compute hosts (``nova_recovery.fleet``),
        entered; called when a host is needed for the first time
    :param looking: nothing is decided by it, so that a replica may answer
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        connect: Callable[[], Any],
        reach: Callable[[], Any] | None = None,
        looking: bool = False,
    ) -> None:
        self.conf = conf
        self._connect = connect
        self._reach = reach
        self._looking = looking
        self._timeout = conf.timeouts.api

    @functools.cached_property
    def nova(self) -> NovaSettings:
        """nova.conf, as far as it matters here."""
        return read_nova(self.conf.nova_config_file, self.conf.nova_config_dir)

    @functools.cached_property
    def cinder(self) -> CinderSettings:
        """The same of cinder.conf."""
        return read_cinder(self.conf.cinder_config_file)

    @functools.cached_property
    def databases(self) -> Databases:
        return databases_module.connect(
            self.conf, self.nova, self.cinder, self._looking
        )

    @functools.cached_property
    def connection(self) -> Any:
        return self._connect()

    @functools.cached_property
    def fleet(self) -> Any:
        """The hosts from inside: a ``nova_recovery.fleet.fleet.Fleet``."""
        if self._reach is None:
            raise ConfigError('no host can be reached from here')
        return self._reach()

    @property
    def reaches_hosts(self) -> bool:
        """Whether it is configured how hosts are reached from here."""
        own = self.conf.fleet
        named = own.inventory or own.host or own.host_map or own.directory
        return bool(named or own.driver != 'ansible')

    @functools.cached_property
    def compute(self) -> compute.Compute:
        return compute.Compute(
            self.connection.session, self._endpoint('compute'), self._timeout
        )

    @functools.cached_property
    def volume(self) -> volume.Volume:
        return volume.Volume(
            self.connection.session,
            self._endpoint('block-storage'),
            self._timeout,
        )

    @functools.cached_property
    def placement(self) -> placement.Placement:
        return placement.Placement(self.connection, self._timeout)

    @functools.cached_property
    def network(self) -> network.Network:
        return network.Network(self.connection, self._timeout)

    def _endpoint(self, service: str) -> dict[str, Any]:
        config = self.connection.config
        picked = {
            'region_name': config.get_region_name(service),
            'interface': config.get_interface(service),
            'endpoint_override': config.get_endpoint(service),
        }
        return {key: value for key, value in picked.items() if value}
