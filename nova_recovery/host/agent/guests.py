# SPDX-License-Identifier: Apache-2.0

"""The verb ``guests``: what runs here, by libvirt and by its processes."""

import argparse
import glob
import os
from typing import Any, Callable, Dict, List

from nova_recovery.host.agent import layout, uses, virsh
from nova_recovery.host.agent.lines import AgentError

HELP = 'guests of this host: list'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument('action', choices=['list'])


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    say('result', **look(layout.detect(parsed.set)))
    return 0


def look(found: Dict[str, Any]) -> Dict[str, Any]:
    """What runs, or is only defined.

    :returns: ``domains``, see :func:`virsh.domains`, None with ``why`` where
        libvirt doesn't tell; ``processes``: rows of ``uuid`` and ``pid`` of
        all guests, also those that libvirt does not know of
    """
    said = {'processes': processes(), 'domains': None, 'why': ''}
    try:
        said['domains'] = virsh.domains(found)
    except AgentError as error:
        said['why'] = str(error)
    return said


def processes() -> List[Dict[str, Any]]:
    """The guests that have a process on this host, in whatever container."""
    rows = []
    for place in sorted(glob.glob('/proc/[0-9]*')):
        name, uuid = uses.who(place)
        if uuid is not None and name.startswith('qemu'):
            rows.append({'uuid': uuid, 'pid': int(os.path.basename(place))})
    return rows
