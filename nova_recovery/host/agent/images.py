# SPDX-License-Identifier: Apache-2.0

"""The verb ``images``: whether disks of guests in files are whole.

``qemu-img check`` without repair, which takes no lock and changes nothing. An
image is opened as what nova's disk.info says that it is: a guest can make a
raw disk look like any other.
"""

import argparse
import glob
import json
import os
from typing import Any, Callable, Dict, Iterator

from nova_recovery.host.agent import check, files, layout, mounts, programs
from nova_recovery.host.agent.lines import AgentError

HELP = 'disks of guests in files, by qemu-img check'

#: Seconds; all of an image's tables are read.
_PATIENCE = 600
#: qemu-img(1) of check: it could not be done, corruption, leaks.
_ENDS = {0: 'good', 2: 'corrupt', 3: 'leaks', 63: 'unchecked'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        '--path',
        action='append',
        default=[],
        required=True,
        help='a disk, or a directory of an instance; may be repeated',
    )
    parser.add_argument(
        '--running',
        action='store_true',
        help='also what a process has open, which changes meanwhile',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    say('result', images=list(look(found, parsed.path, parsed.running)))
    return 0


def look(
    found: Dict[str, Any], paths: Any, running: bool
) -> Iterator[Dict[str, Any]]:
    """Check images.

    :returns: rows of ``path``, ``format``, ``open`` (a process has it),
        ``state`` (good, leaks, corrupt, unchecked or unknown) and ``why``
    """
    instances = os.path.realpath(found['instances'])
    table = mounts.Table(mounts.read())
    silent = [row['target'] for row in check.mounted() if not row['answers']]
    mount = table.mount_of(os.fsencode(instances))
    for path in paths:
        path = os.path.normpath(path)
        row = {'path': path, 'format': '', 'open': False, 'state': 'unknown'}
        if mount and os.fsdecode(mount.target) in silent:
            yield dict(row, why='its file system does not answer')
            continue
        disks = [path]
        if os.path.isdir(path):
            disks = sorted(glob.glob(os.path.join(path, 'disk*')))
            disks = [disk for disk in disks if not disk.endswith('.info')]
        if not disks:
            yield dict(row, why='no disk is there')
        held = set(check.opened(instances))
        for disk in disks:
            yield dict(row, path=disk, **_one(instances, disk, held, running))


def _one(
    instances: str, path: str, held: Any, running: bool
) -> Dict[str, Any]:
    real = os.path.realpath(path)
    if not real.startswith(instances + '/') or not os.path.isfile(real):
        return {'why': 'no file below {}'.format(instances)}
    kind = _format(real)
    status = os.stat(real)
    row = {
        'format': kind,
        'open': (status.st_dev, status.st_ino) in held,
        'why': '',
    }  # type: Dict[str, Any]
    if not kind:
        return dict(row, why='disk.info does not say what format it has')
    if kind == 'raw':
        return dict(row, state='unchecked')
    if row['open'] and not running:
        return dict(row, why='a process has it open')
    words = ['qemu-img', 'check', '-U', '-f', kind, '--output', 'json', real]
    try:
        code, text, complained = programs.run(words, _PATIENCE)
    except AgentError as error:
        return dict(row, why=str(error))
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    return dict(
        row,
        state=_ENDS.get(code, 'unknown'),
        why=complained
        if code not in _ENDS
        else ', '.join(
            '{} {}'.format(said[name], name)
            for name in ('corruptions', 'leaks')
            if said.get(name)
        ),
    )


def _format(path: str) -> str:
    """What nova made it; '' where that is not written down.

    ``disk.info`` has the path as nova sees it, which is another one in a
    container.
    """
    name = os.path.join(os.path.dirname(path), 'disk.info')
    try:
        known = json.loads('\n'.join(files.read(name)) or '{}')
    except ValueError:
        return ''
    end = os.sep.join(path.split(os.sep)[-2:])
    for where, kind in known.items():
        if os.sep.join(where.split(os.sep)[-2:]) == end:
            return str(kind) if kind in ('raw', 'qcow2') else ''
    return ''
