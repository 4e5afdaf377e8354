# SPDX-License-Identifier: Apache-2.0

"""What ``config show`` tells: the options in force."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses

from oslo_config import cfg

from nova_recovery import conf as recovery_conf
from nova_recovery.cloud import secrets, settings
from nova_recovery.cloud.settings import CinderSettings, NovaSettings
from nova_recovery.conf import files as conf_files


@dataclasses.dataclass(frozen=True)
class Option:
    """An option as it is in force, secrets masked.

    :ivar file: whose: ``nova.conf``, ``cinder.conf``, ``nova-recovery.conf``
    :ivar origin: the file it comes from; '' for a default
    """

    file: str
    name: str
    value: str
    origin: str


def options(conf: cfg.ConfigOpts) -> list[Option]:
    """Return the options in force: nova's, cinder's and ours.

    :raises ConfigError: a file can't be read
    """
    nova = settings.read_nova(conf.nova_config_file, conf.nova_config_dir)
    cinder = settings.read_cinder(conf.cinder_config_file)
    return [
        *_of_service('nova.conf', nova),
        *_of_service('cinder.conf', cinder),
        *_of_ours(conf),
    ]


def _of_service(
    file: str, read: NovaSettings | CinderSettings
) -> Iterator[Option]:
    yield Option(file, 'files', ', '.join(read.files) or 'none found', '')
    for field in dataclasses.fields(read):
        if field.name in ('files', 'origins', 'parameters'):
            continue
        value = getattr(read, field.name)
        name = f'[DEFAULT] {field.name}'
        if field.name == 'bus':
            name, value = '[DEFAULT] transport_url', read.bus.url
            value = secrets.mask_url(value) if value else value
        if field.name in ('database', 'api_database'):
            name = f'[{field.name}] connection'
            value = secrets.mask_url(value) if value else value
        yield Option(file, name, _shown(value), read.origins.get(name, ''))


def _of_ours(conf: cfg.ConfigOpts) -> Iterator[Option]:
    file = 'nova-recovery.conf'
    files = [*(conf.default_config_files or ())]
    yield Option(file, 'files', ', '.join(files) or 'none found', '')
    for group, known in recovery_conf.list_opts():
        for option in known:
            value = conf_files.value(conf, option.dest, group)
            values = value if isinstance(value, list) else [value]
            if option.secret:
                values = [_masked_connection(v) for v in values if v]
            yield Option(
                file,
                f'[{group}] {option.dest}',
                ', '.join(_shown(one) for one in values),
                conf_files.origin(conf, option.dest, group),
            )


def _masked_connection(text: str) -> str:
    # [cells]connection is NAME=URL
    name, equals, url = text.partition('=')
    if equals and '://' not in name:
        return f'{name}={secrets.mask_url(url)}'
    return secrets.mask_url(text)


def _shown(value: object) -> str:
    return '' if value is None else str(value)
