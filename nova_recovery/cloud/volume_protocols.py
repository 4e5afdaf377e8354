# SPDX-License-Identifier: Apache-2.0

"""Which connection types of volumes are bound to a host.

The extension point ``nova_recovery.volume_protocols``: an entry point is
named after ``driver_volume_type`` and gives a ``Protocol``.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import stevedore


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A connection type.

    :ivar host_bound: the connection data is good for one host only, so
        that it must be asked for anew on another: a stale LUN number may
        be another tenant's volume there
    """

    host_bound: bool


BOUND = Protocol(host_bound=True)
#: The data names the volume wherever it is opened.
ANYWHERE = Protocol(host_bound=False)


@functools.cache
def _known() -> dict[str, Protocol]:
    # Annotated, for the stevedore of 2026 is typed as if all were classes.
    manager: Any = stevedore.ExtensionManager('nova_recovery.volume_protocols')
    return {extension.name: extension.plugin for extension in manager}


def host_bound(protocol: str) -> bool | None:
    """Whether connections of this type are bound to a host; None: unknown.

    :param protocol: ``driver_volume_type``
    """
    found = _known().get(protocol)
    return found.host_bound if found else None


def bound_ones() -> list[str]:
    """Those that are known to be bound to a host."""
    return sorted(name for name, one in _known().items() if one.host_bound)
