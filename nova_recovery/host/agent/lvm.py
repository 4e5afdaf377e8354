# SPDX-License-Identifier: Apache-2.0

"""Volume groups of this host, and those that cinder-volume wants here."""

import json
from typing import Any, Dict, List, Set

from nova_recovery.host.agent import nova_conf, programs
from nova_recovery.host.agent.lines import AgentError

_CONF = ('/etc/cinder/cinder.conf', '/etc/kolla/cinder-volume/cinder.conf')
#: cinder/volume/drivers/lvm.py, which is also the default driver.
_DEFAULT = 'cinder-volumes'
_OPTIONS = ['--reportformat', 'json', '--units', 'b', '--nosuffix', '-o']


def look(dead: str = '') -> Dict[str, Any]:
    """What there is.

    :param dead: a disk that does not answer; lvm, which reads them all,
        would wait for it, and is not asked
    :returns: ``groups``: rows of ``name``, ``bytes``, ``free`` and
        ``missing`` (disks of it that are not there); ``volumes``: rows of
        ``group``, ``name``, ``active``, ``pool`` (it is one for thin
        volumes), ``thin`` (the pool that it is in), ``health`` (lvm's word,
        '' where it is well), ``data`` and ``metadata`` (percent of a pool in
        use, None where that is not known); ``wanted``: groups of
        cinder.conf; ``why`` the first two are None
    """
    said = {'groups': None, 'volumes': None, 'why': ''}  # type: Dict[str, Any]
    try:
        if dead:
            raise AgentError('not asked: {} does not answer'.format(dead))
        said['groups'] = [
            {
                'name': row['vg_name'],
                'bytes': int(row['vg_size']),
                'free': int(row['vg_free']),
                'missing': int(row['vg_missing_pv_count'] or 0),
            }
            for row in _report(
                'vgs', 'vg', 'vg_name,vg_size,vg_free,vg_missing_pv_count'
            )
        ]
        said['volumes'] = [
            {
                'group': row['vg_name'],
                'name': row['lv_name'],
                'active': row['lv_attr'][4:5] == 'a',
                'pool': row['lv_attr'][:1] == 't',
                'thin': row['pool_lv'],
                'health': row['lv_health_status'],
                'data': _percent(row['data_percent']),
                'metadata': _percent(row['metadata_percent']),
            }
            for row in _report(
                'lvs',
                'lv',
                'vg_name,lv_name,lv_attr,pool_lv,lv_health_status,'
                'data_percent,metadata_percent',
            )
        ]
    except programs.Missing:
        said.update(groups=[], volumes=[])
    except (AgentError, LookupError, ValueError) as error:
        said['why'] = str(error)
    return dict(said, wanted=sorted(wanted()))


def _report(program: str, kind: str, fields: str) -> List[Dict[str, str]]:
    code, text, complained = programs.run([program] + _OPTIONS + [fields])
    if code:
        raise AgentError('{}: {}'.format(program, complained))
    (report,) = json.loads(text)['report']
    return list(report[kind])


def _percent(text: str) -> Any:
    return float(text) if text else None


def wanted(paths: Any = _CONF) -> Set[str]:
    """The groups of the back ends that cinder-volume has here."""
    there = nova_conf.expanded(paths)[:1]
    names, _path = nova_conf.value(there, 'enabled_backends')
    found = set()
    for name in filter(None, (n.strip() for n in (names or '').split(','))):
        driver, _path = nova_conf.value(there, 'volume_driver', name)
        if driver is None or '.lvm.' in driver:
            group, _path = nova_conf.value(there, 'volume_group', name)
            found.add(group or _DEFAULT)
    return found
