# SPDX-License-Identifier: Apache-2.0

"""The verb ``services``: stop what runs, and start it as it was.

Only what ran is stopped, only what was stopped is started: it is remembered
on disk before the first stop. With ``--hold`` nobody starts a unit of them in
between, not even a reboot (``held``). Containers that no unit looks after
(kolla before 2023.1) are stopped and started by their engine.
"""

import argparse
import fnmatch
import os
from typing import Any, Callable, Dict, List, Sequence

from nova_recovery.host.agent import files, held, layout, programs
from nova_recovery.host.agent.lines import AgentError, Refused

HELP = 'the units and containers of nova and libvirt: list, stop, start'

#: Seconds; nova-compute waits for what is in flight, TimeoutStopSec is 90.
_PATIENCE = 240
#: They would start a service again when somebody connects.
_ENDINGS = ('.socket', '.timer', '.path', '.service')
#: Somebody may be at work on it: it runs, or soon will.
_RUNS = frozenset({'active', 'activating', 'reloading', 'deactivating'})
#: Our own are no services of nova: one that is stopped in the middle of its
#: work is gone, and can't be started as it was (nova-recovery-RUN).
_OURS = 'nova-recovery'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('action', choices=['list', 'stop', 'start'])
    parser.add_argument(
        '--group',
        action='append',
        choices=['nova', 'libvirt'],
        help='whose: by default both are listed, and nova is stopped',
    )
    parser.add_argument(
        '--unit',
        action='append',
        default=[],
        metavar='NAME',
        help='this unit as well, by its whole name',
    )
    parser.add_argument(
        '--hold',
        action='store_true',
        help='for stop: nobody starts a unit of them before "start" does, not'
        ' even a boot',
    )
    parser.add_argument(
        '--state',
        metavar='DIR',
        type=files.typed,
        help='where what was stopped is remembered; for list, whether it is'
        ' kept off',
    )


def run(parsed: argparse.Namespace, say: Callable[..., None]) -> int:
    found = layout.detect(parsed.set)
    # a container of libvirt's may take the guests along: it is named, or left
    groups = parsed.group or ['nova']
    if parsed.action == 'list':
        groups = parsed.group or ['nova', 'libvirt']
        say(
            'result',
            services=look(found, groups, parsed.unit),
            held=bool(parsed.state)
            and held.holds(os.path.abspath(parsed.state)),
        )
        return 0
    if not parsed.state:
        raise Refused('services {} needs --state DIR'.format(parsed.action))
    if os.geteuid():
        raise Refused('only root can stop and start services')
    state = os.path.abspath(parsed.state)
    with files.locked(os.path.join(state, 'services.lock')):
        if parsed.action == 'stop':
            stopped = stop(state, found, groups, parsed.unit, parsed.hold)
            say('result', **stopped)
        else:
            say('result', **start(state, found))
    return 0


def look(
    found: Dict[str, Any], groups: Sequence[str], more: Sequence[str] = ()
) -> List[Dict[str, Any]]:
    """What is there, and whether it runs.

    :param found: as :func:`layout.detect`
    :returns: rows of ``name``, ``kind`` (unit or container), ``group``
        (nova, libvirt or named), ``state``, ``runs`` and ``held`` (the file
        that keeps it off, or ''); in the order in which they are to be stopped
    """
    rows = _units(found, groups, more)
    rows += _containers(found, groups)
    return sorted(
        rows,
        key=lambda row: (
            ('nova', 'named', 'libvirt').index(row['group']),
            _ENDINGS.index(os.path.splitext(row['name'])[1])
            if row['kind'] == 'unit'
            else len(_ENDINGS),
            row['name'],
        ),
    )


def stop(
    state: str,
    found: Dict[str, Any],
    groups: Sequence[str],
    more: Sequence[str] = (),
    hold: bool = False,
) -> Dict[str, Any]:
    """Stop what runs of it; again after a kill, or a reboot, the rest.

    :param state: an absolute path
    :param hold: keep all of it off, also what doesn't run
    :returns: ``stopped``: the names that were stopped, now or before
    :raises AgentError: something runs still, or would at a reboot
    """
    path = os.path.join(state, 'services.json')
    saved = files.load(path)
    if saved is None or saved['started']:
        saved = {'stopped': [], 'started': False}
    rows = look(found, groups, more)
    units = {row['name'] for row in rows if row['kind'] == 'unit' and hold}
    saved['held'] = sorted(units.union(saved.get('held', ())))
    running = [row for row in rows if row['runs']]
    known = [(row['kind'], row['name']) for row in saved['stopped']]
    for row in running:
        if (row['kind'], row['name']) not in known:
            saved['stopped'].append(
                {key: row[key] for key in ('kind', 'name', 'group', 'engine')}
            )
    files.save(path, saved)
    if hold:
        held.hold(state, saved['held'])
    for row in running:
        _do(row, 'stop')
    left = [row['name'] for row in look(found, groups, more) if row['runs']]
    if left:
        raise AgentError('still running: {}'.format(', '.join(left)))
    return {'stopped': [row['name'] for row in saved['stopped']]}


def start(state: str, found: Dict[str, Any]) -> Dict[str, Any]:
    """Start what was stopped, the last first.

    What was started by it once is left to whoever stops it then.

    :returns: ``started``: the names
    :raises AgentError: something that was stopped doesn't run
    """
    path = os.path.join(state, 'services.json')
    saved = files.load(path)
    if saved is None:
        return {'started': []}
    names = [row['name'] for row in reversed(saved['stopped'])]
    held.release(state, saved.get('held', ()))
    if saved['started']:
        return {'started': names}
    for row in reversed(saved['stopped']):
        _do(row, 'start')
    dead = [row['name'] for row in saved['stopped'] if not _runs(row)]
    if dead:
        raise AgentError(
            'started, and does not run: {}; see journalctl -u {}'.format(
                ', '.join(dead), dead[0]
            )
        )
    files.save(path, dict(saved, started=True))
    return {'started': names}


def _units(
    found: Dict[str, Any], groups: Sequence[str], more: Sequence[str]
) -> List[Dict[str, Any]]:
    if not os.path.isdir('/run/systemd/system'):
        if more:
            raise Refused('no systemd runs here: no unit can be asked')
        return []
    rows = []
    for name, state in _states().items():
        group = _group(found, groups, os.path.splitext(name)[0], name in more)
        if group:
            rows.append(
                {
                    'name': name,
                    'kind': 'unit',
                    'group': group,
                    'engine': None,
                    'state': '{} ({})'.format(*state),
                    'runs': state[0] in _RUNS,
                    'held': held.by(name),
                }
            )
    absent = sorted(set(more) - {row['name'] for row in rows})
    if absent:
        raise Refused('no such unit: {}'.format(', '.join(absent)))
    return rows


def _states() -> Dict[str, Sequence[str]]:
    """Unit -> what it is in and what that is called, as systemd has it.

    A service that neither runs nor is enabled is not loaded: it is installed.
    """
    states = {}  # type: Dict[str, Sequence[str]]
    for words in _listed('list-units', '--all'):
        # one that was masked, or whose file was removed, may run on
        if len(words) >= 4 and (words[1] == 'loaded' or words[2] in _RUNS):
            states[words[0]] = words[2:4]
    for words in _listed('list-unit-files'):
        if words[1:2] == ['disabled'] and words[0].endswith('.service'):
            states.setdefault(words[0], ('inactive', 'dead'))
    # not what is only a pattern of units
    return {
        name: state
        for name, state in states.items()
        if os.path.splitext(name)[1] in _ENDINGS and '@.' not in name
    }


def _listed(*verb: str) -> List[List[str]]:
    code, text, complained = programs.run(
        ['systemctl']
        + list(verb)
        + ['--plain', '--no-legend', '--no-pager', '--full']
    )
    if code:
        raise AgentError('systemctl {}: {}'.format(verb[0], complained))
    return [line.split() for line in text.splitlines() if line.strip()]


def _group(
    found: Dict[str, Any], groups: Sequence[str], name: str, named: bool
) -> str:
    for group in ('nova', 'libvirt'):
        patterns = found[group + '_units']
        if (
            group in groups
            and not name.startswith(_OURS)
            and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        ):
            return group
    return 'named' if named else ''


def _containers(
    found: Dict[str, Any], groups: Sequence[str]
) -> List[Dict[str, Any]]:
    rows = []
    for name in found['containers'] if found['engine'] else ():
        group = 'libvirt' if 'libvirt' in name else 'nova'
        if group not in groups or _has_unit(found, name):
            continue
        code, text, complained = programs.run(
            [found['engine'], 'inspect', '--type', 'container']
            + ['--format', '{{.State.Status}}', name]
        )
        if code and 'no such' in complained.lower():
            continue
        if code:
            raise AgentError('{}: {}'.format(found['engine'], complained))
        rows.append(
            {
                'name': name,
                'kind': 'container',
                'group': group,
                'engine': found['engine'],
                'state': text.strip(),
                'runs': text.strip() in ('running', 'restarting', 'paused'),
                'held': '',
            }
        )
    return rows


def _has_unit(found: Dict[str, Any], name: str) -> bool:
    # kolla-ansible since 2023.1: kolla-NAME-container.service
    unit = 'kolla-{}-container.service'.format(name)
    return found['layout'] == 'kolla' and os.path.exists(
        os.path.join('/etc/systemd/system', unit)
    )


def _do(row: Dict[str, Any], verb: str) -> None:
    words = [row['engine'] or 'systemctl', verb, row['name']]
    code, _said, complained = programs.run(words, _PATIENCE)
    if code:
        raise AgentError('{}: {}'.format(' '.join(words), complained))


def _runs(row: Dict[str, Any]) -> bool:
    if row['kind'] == 'unit':
        words = ['systemctl', 'is-active', '--quiet', row['name']]
        return programs.run(words)[0] == 0
    code, text, _complained = programs.run(
        [row['engine'], 'inspect', '--type', 'container']
        + ['--format', '{{.State.Running}}', row['name']]
    )
    return not code and text.strip() == 'true'
