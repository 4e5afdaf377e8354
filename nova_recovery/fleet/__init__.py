# SPDX-License-Identifier: Apache-2.0

"""The same host work on many machines: ``nova_recovery.fleet``.

What a host does is the agent's (``nova_recovery.host.agent``), how it is
reached a driver's; here is who is asked, and what is known when nothing comes
back.
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg
import stevedore

from nova_recovery.exceptions import ConfigError
from nova_recovery.fleet import hosts
from nova_recovery.fleet.fleet import Fleet


def load(conf: cfg.ConfigOpts) -> Fleet:
    """The fleet that is configured; nothing is asked yet.

    :raises ConfigError: no driver has that name, or it can't work
    """
    name = conf.fleet.driver
    try:
        manager: Any = stevedore.DriverManager(
            'nova_recovery.fleet',
            name,
            invoke_on_load=True,
            invoke_args=(conf,),
        )
    except stevedore.exception.NoMatches as error:
        raise ConfigError(
            f'[fleet] driver: nothing is called {name!r}'
        ) from error
    return Fleet(
        manager.driver,
        hosts.pairs(conf.fleet.host, conf.fleet.host_map),
        conf.fleet.home,
        conf.fleet.timeout,
    )
