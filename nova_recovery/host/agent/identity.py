# SPDX-License-Identifier: Apache-2.0

"""Which machine this is: what every call through the fleet asks first."""

import argparse
import os
import platform
import socket
from typing import Any, Callable, Dict, Optional, Sequence

from nova_recovery.host.agent import files, layout, nova_conf

HELP = 'which machine this is, and how nova-compute was installed'

_BOOT_ID = '/proc/sys/kernel/random/boot_id'
_MACHINE_ID = ('/etc/machine-id', '/var/lib/dbus/machine-id')


def boot_id() -> str:
    """Another one after each start of the machine."""
    with open(_BOOT_ID) as file:
        return file.read().strip()


def machine_id() -> Optional[str]:
    """The installation's own, as machine-id(5); None where it has none."""
    for path in _MACHINE_ID:
        for line in files.read(path)[:1]:
            # "uninitialized" stands in an image that never started
            if len(line.strip()) == 32:
                return line.strip()
    return None


def look(overrides: Sequence[str] = ()) -> Dict[str, Any]:
    """Who this host is.

    :param overrides: as :func:`layout.detect`
    :returns: ``machine_id``, ``boot_id``, ``hostname``, ``nova_host`` and
        ``nova_host_from``, ``python``, ``uid``, ``systemd`` and ``layout``;
        what can't be told is None
    """
    found = layout.detect(overrides)
    name, where = nova_conf.host(found['nova_conf'])
    return {
        'machine_id': machine_id(),
        'boot_id': boot_id(),
        'hostname': socket.gethostname(),
        'nova_host': name,
        'nova_host_from': where,
        'python': platform.python_version(),
        'uid': os.geteuid(),
        'systemd': os.path.isdir('/run/systemd/system'),
        'layout': found,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    say('result', **look(parsed.set))
    return 0
