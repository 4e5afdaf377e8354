# SPDX-License-Identifier: Apache-2.0

"""Database URLs: read, masked, their server's name resolved in time.

Services accept more forms than PyMySQL: options of other drivers, of oslo.db
and of SQLAlchemy's plugins, option files, sockets, a password with a bare
``@``. A URL is brought here to what PyMySQL takes; what can't be is told as a
problem of this one database.
"""

from __future__ import annotations

from collections.abc import Mapping
import configparser
import ipaddress
import os
import socket
import threading
from typing import Any

from oslo_utils import strutils
from pymysql import charset
import sqlalchemy
from sqlalchemy import exc

from nova_recovery.cloud import secrets
from nova_recovery.conf import files as conf_files

#: What services have used besides.
_OTHERS = ('sqlite', 'postgresql', 'postgres', 'ibm_db_sa', 'oracle', 'mssql')

#: What of a query says how to connect; the rest (pools, cursors, modes,
#: ``plugin=dbcounter``) is the services' own and would only be in our way.
_TLS_FILES = ('ssl_ca', 'ssl_capath', 'ssl_cert', 'ssl_key')
_TLS = (
    *_TLS_FILES,
    'ssl_cipher',
    'ssl_check_hostname',
    'ssl_key_password',
    'ssl_verify_cert',
    'ssl_verify_identity',
)
_BOOLEANS = ('ssl_check_hostname', 'ssl_verify_cert', 'ssl_verify_identity')

#: As PyMySQL reads option files (``connections.py: Connection.__init__``).
_FILE = {
    'user': 'username',
    'password': 'password',  # nosec: names of options
    'host': 'host',
    'database': 'database',
    'port': 'port',
    'socket': 'unix_socket',
    'bind-address': 'bind_address',
    'default-character-set': 'charset',
    'ssl': 'ssl',
    'ssl-mode': 'ssl_mode',
    'ssl-ca': 'ssl_ca',
    'ssl-capath': 'ssl_capath',
    'ssl-cert': 'ssl_cert',
    'ssl-key': 'ssl_key',
    'ssl-cipher': 'ssl_cipher',
    'ssl-verify-server-cert': 'ssl_check_hostname',
}


def parse(url: str) -> sqlalchemy.engine.URL:
    """Return the URL of a MySQL database as PyMySQL understands it.

    :raises ValueError: when it is none, or leads nowhere from this machine;
        without the URL, which may hold a password wherever it is broken
    """
    parsed = _read(url)
    kind = parsed.drivername.partition('+')[0]
    if kind not in ('mysql', 'mariadb'):
        # not any word: it may be the user's or the password
        known = kind if kind in _OTHERS else 'something else'
        raise ValueError(
            f'its URL is of {known}; only MySQL and MariaDB are known'
        )
    query = {
        # of several values services take none, or the last one
        name: value if isinstance(value, str) else value[-1]
        for name, value in parsed.query.items()
    }
    parsed, query, missing = _with_option_file(parsed, query)
    if not (parsed.host or query.get('unix_socket')) or not parsed.database:
        what = 'database' if parsed.host else 'server'
        raise ValueError(f'its URL names no {what}{missing}')
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise ValueError('the port of its URL is none')
    return parsed.set(
        # old clouds have mysql:// or mysql+mysqldb://, whose driver is a
        # library in C that is not needed here
        drivername='mysql+pymysql',
        query=_understood(query),
    )


def with_parameters(url: str, parameters: str | None) -> str:
    """A URL with ``connection_parameters``, as oslo.db appends them."""
    if not parameters or '://' not in url:
        return url
    return f'{url}{"&" if "?" in url else "?"}{parameters.lstrip("?&")}'


def wants_tls(url: sqlalchemy.engine.URL) -> bool:
    """Whether a URL that was parsed asks for TLS."""
    return any(name in url.query for name in _TLS)


def at(
    url: sqlalchemy.engine.URL, host: str, port: int
) -> sqlalchemy.engine.URL:
    """The same URL to another server."""
    return url.set(host=host, port=port).difference_update_query(
        ['unix_socket']
    )


def server(url: sqlalchemy.engine.URL) -> tuple[str, int]:
    """Address, or path of the socket, and port of its server."""
    place = url.query.get('unix_socket') or url.host
    return str(place), url.port or 3306


def masked(url: sqlalchemy.engine.URL) -> str:
    """Return a URL with its password masked."""
    return secrets.mask_url(url.render_as_string(hide_password=True))


def obstacle(url: sqlalchemy.engine.URL, timeout: float) -> str | None:
    """What is in the way before the server is asked; None: nothing.

    :param timeout: seconds until its name has to be resolved
    """
    return _unreadable(url) or resolve(url, timeout)


def _unreadable(url: sqlalchemy.engine.URL) -> str | None:
    """Which of its TLS files can't be read on this machine, and why.

    The files of a container are often only there.
    """
    for name in _TLS_FILES:
        path = str(url.query.get(name, ''))
        why = conf_files.unreadable(path) if path else ''
        if why:
            return f'its {name} {why}'
    return None


def resolve(url: sqlalchemy.engine.URL, timeout: float) -> str | None:
    """Resolve the name of the URL's server, or know soon that it fails.

    connect_timeout begins after the name is resolved, and a resolver whose
    servers are dead takes half a minute: on a bad day they are.

    :returns: why it failed, None when it is resolved
    """
    host, port = server(url)
    if 'unix_socket' in url.query or _is_address(host):
        return None
    problems: list[str] = []

    def ask() -> None:
        try:
            socket.getaddrinfo(host, port)
        except OSError as error:
            problems.append(error.strerror or 'no such name')
        except ValueError:
            # what IDNA can't write, or a NUL
            problems.append('it is no name of a host')

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        problems.append('no answer in time')
    if not problems:
        return None
    return f'the name of its server can not be resolved: {problems[0]}'


def _read(url: str) -> sqlalchemy.engine.URL:
    """The parts of a URL, unchecked.

    :raises ValueError: it has none
    """
    try:
        return sqlalchemy.engine.make_url(_quoted(url))
    except (exc.ArgumentError, ValueError):
        pass
    raise ValueError(f'its URL can not be read{_hint(url)}')


def _quoted(url: str) -> str:
    """A URL whose password has no bare ``@``.

    SQLAlchemy up to 1.3 took all up to the last one for the password
    (``engine/url.py: _parse_rfc1738_args``), and so did the services.
    """
    body, mark, query = url.partition('?')
    if '@' in query and '=' not in query.partition('@')[0]:
        # no option: the question mark is of the password too
        body, mark, query = url, '', ''
    scheme, slashes, rest = body.partition('://')
    credentials, at_sign, place = rest.rpartition('@')
    user, colon, password = credentials.partition(':')
    if not at_sign or not colon or '/' in user:
        return url
    password = password.replace('@', '%40').replace('?', '%3F')
    return f'{scheme}{slashes}{user}:{password}@{place}{mark}{query}'


def _with_option_file(
    url: sqlalchemy.engine.URL, query: dict[str, str]
) -> tuple[sqlalchemy.engine.URL, dict[str, str], str]:
    """The URL with what ``read_default_file`` says beside it.

    What the URL itself says goes before the file. A file that isn't there
    is passed over, as PyMySQL does; the name of it is told if something is
    missing then.

    :raises ValueError: it can't be read as such a file
    """
    path = query.get('read_default_file') or (
        '/etc/my.cnf' if query.get('read_default_group') else ''
    )
    if not path:
        return url, query, ''
    known = _option_file(path, query.get('read_default_group') or 'client')
    if known is None:
        name = conf_files.word(path)
        return url, query, f'; its option file {name} is not on this machine'
    parts: dict[str, Any] = {}
    for name in ('username', 'password', 'host', 'database', 'port'):
        value = known.pop(name, '')
        if value and not getattr(url, name):
            parts[name] = value
    if 'port' in parts:
        parts['port'] = _number(parts['port'], path)
    return url.set(**parts), {**known, **query}, ''


class _Parser(configparser.RawConfigParser):
    """Of option files, as ``pymysql/optionfile.py`` reads them."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr.lower().replace('_', '-')


def _option_file(path: str, group: str) -> dict[str, str] | None:
    """What a group of an option file says; None where there is none."""
    parser = _Parser(allow_no_value=True, strict=False)
    try:
        with open(os.path.expanduser(path), encoding='utf-8') as file:
            # the server's library includes files, PyMySQL does not
            lines = [line for line in file if not line.startswith('!')]
        parser.read_file(lines)
        if not parser.has_section(group):
            return {}
        return {
            _FILE[name]: (parser.get(group, name) or '').strip('\'"')
            for name in parser.options(group)
            if name in _FILE
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, configparser.Error) as error:
        why = getattr(error, 'strerror', None) or 'it is no option file'
        raise ValueError(
            f'its option file {conf_files.word(path)} can not be read: {why}'
        ) from None


def _number(text: str, path: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f'the port in its option file {conf_files.word(path)} is none'
        ) from None


def _understood(query: Mapping[str, str]) -> dict[str, str]:
    """What of a query PyMySQL is given."""
    kept = {
        name: query[name] for name in ('unix_socket', *_TLS) if query.get(name)
    }
    for name in _BOOLEANS:
        if name in kept:
            kept[name] = 'true' if _is_true(kept[name]) else 'false'
    _apply_ssl_mode(kept, query)
    if _charset_is_known(query.get('charset', '')):
        kept['charset'] = query['charset']
    if _is_here(query.get('bind_address', '')):
        kept['bind_address'] = query['bind_address']
    return kept


def _apply_ssl_mode(kept: dict[str, str], query: Mapping[str, str]) -> None:
    """What mysqlclient and option files say of TLS, in PyMySQL's options.

    A word of PyMySQL's that means "no" is "yes" to it: it is text.
    """
    mode = query.get('ssl_mode', '').upper()
    if mode == 'DISABLED' or _is_true(query.get('ssl_disabled', '')):
        for name in _TLS:
            kept.pop(name, None)
        # else PyMySQL speaks TLS from 1.2 on where the server can
        kept['ssl_disabled'] = 'true'
        return
    for name in ('ssl_verify_cert', 'ssl_verify_identity'):
        if kept.get(name) == 'false':
            del kept[name]
    verified = 'ssl_ca' in kept or 'ssl_capath' in kept
    # the word alone, as in an option file, is empty there
    plain = 'ssl' in query and (not query['ssl'] or _is_true(query['ssl']))
    if mode == 'VERIFY_IDENTITY' and not verified:
        kept['ssl_verify_identity'] = 'true'
    elif mode in ('REQUIRED', 'VERIFY_CA') or (plain and not verified):
        # the name of the server doesn't count, and without a CA nothing
        kept.setdefault('ssl_check_hostname', 'false')


def _is_true(text: str) -> bool:
    return bool(strutils.bool_from_string(text, default=False))


def _charset_is_known(name: str) -> bool:
    if not name:
        return False
    found: Any = charset.charset_by_name
    try:
        return found(name) is not None
    except KeyError:
        return False


def _is_here(address: str) -> bool:
    """Whether the address is one of this machine's."""
    if not _is_address(address):
        return False
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip('[]'))
    except ValueError:
        return False
    return True


def _hint(url: str) -> str:
    if '{' in url:
        return ': it is a template that could not be filled in'
    if ':None' in url:
        return (
            ': its template has {port}, but the URL that it is filled in '
            'from has no port'
        )
    return ''
