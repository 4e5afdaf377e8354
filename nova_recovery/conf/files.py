# SPDX-License-Identifier: Apache-2.0

"""Configuration files, with errors that name the file and no value."""

from __future__ import annotations

import os
from typing import Any
import urllib.parse

from oslo_config import cfg

from nova_recovery.exceptions import ConfigError


def parse(options: cfg.ConfigOpts, **places: Any) -> None:
    """Read configuration files.

    :param places: what calling *options* takes
    :raises ConfigError: with the file and line, never with what stands
        there: it may be a password
    """
    try:
        options([], **places)
    except cfg.ConfigFilesNotFoundError as error:
        problem = f'no such file: {", ".join(error.config_files)}'
    except cfg.ConfigFilesPermissionDeniedError as error:
        problem = f'may not be read: {", ".join(error.config_files)}'
    except cfg.ConfigDirNotFoundError as error:
        problem = f'no such directory: {error.config_dir}'
    except cfg.ConfigFileParseError as error:
        problem = _parse_problem(error)
    except (cfg.ConfigFileValueError, ValueError) as error:
        # not its text: it quotes the value
        problem = f'{_files(places)}: {_value_problem(error)}'
    except OSError as error:
        problem = f'{error.filename}: {error.strerror}'
    else:
        return
    raise ConfigError(f'configuration: {problem}')


def value(options: cfg.ConfigOpts, name: str, group: str) -> Any:
    """Return the value of an option.

    :raises ConfigError: naming the option and its file
    """
    place = options if group == 'DEFAULT' else options[group]
    problem = ''
    try:
        return place[name]
    except cfg.NoSuchOptError:
        # it is an AttributeError too, which getattr with a default hides.
        # Not which one: it may be the second half of a password
        problem = (
            'has a $ that names no option; '
            'write $$ where a $ is part of the value'
        )
    except (cfg.ConfigFileValueError, ValueError):
        problem = 'has a value of the wrong type'
    where = origin(options, name, group)
    files = ', '.join(options.config_file or options.default_config_files)
    raise ConfigError(f'[{group}] {name} in {where or files} {problem}')


def origin(options: cfg.ConfigOpts, name: str, group: str) -> str:
    """Return where the value of an option comes from, '' for a default."""
    try:
        found = options.get_location(
            name, None if group == 'DEFAULT' else group
        )
    except (cfg.NoSuchOptError, cfg.ConfigFileValueError):
        # the location of a value that can't be had is not told
        return ''
    if found is None or not found.location.is_user_controlled:
        return ''
    if found.location is cfg.Locations.environment:
        return f'environment ({found.detail})'
    if found.location is cfg.Locations.command_line:
        return 'command line'
    return str(found.detail)


def unreadable(path: str) -> str:
    """Why a file that an option names can't be read here; '' if it can.

    A service's own files may be in its container only.
    """
    try:
        # a directory opens too, and a pipe does not wait for its writer
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except (OSError, ValueError) as error:
        why = getattr(error, 'strerror', None) or 'that is no name of a file'
        return (
            f'{word(path)} can not be read on this machine: {why}. It may be '
            'in a container: copy it here, or name another file'
        )
    return ''


def word(path: str) -> str:
    """The name of a file, one word and harmless for a terminal."""
    return urllib.parse.quote(path[:200], safe='/+*._-')


def _files(places: dict[str, Any]) -> str:
    return ', '.join(
        [*places['default_config_files'], *places['default_config_dirs']]
    )


def _value_problem(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f'byte {error.start} is not UTF-8'
    return 'an option has a value of the wrong type'


def _parse_problem(error: cfg.ConfigFileParseError) -> str:
    # str() is "at FILE:LINE, what is wrong: 'the line itself'"
    place, _comma, rest = str(error.msg).partition(', ')
    what = rest.partition(':')[0]
    if not place.startswith('at ') or not what:
        return f'{error.config_file} can not be read'
    return f'{place.removeprefix("at ")}: {what}'
