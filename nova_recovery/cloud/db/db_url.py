# SPDX-License-Identifier: Apache-2.0

"""Database URLs: read, masked, their server's name resolved in time."""

from __future__ import annotations

import ipaddress
import socket
import threading

import sqlalchemy
from sqlalchemy import exc

from nova_recovery.cloud import secrets


def parse(url: str) -> sqlalchemy.engine.URL:
    """Return the URL of a MySQL database as PyMySQL understands it.

    :raises ValueError: when it is none; without the URL, which may hold a
        password wherever it is broken
    """
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None:
        raise ValueError(f'its URL can not be read{_hint(url)}')
    kind = parsed.drivername.partition('+')[0]
    if kind not in ('mysql', 'mariadb'):
        raise ValueError(
            f'its URL is of {kind}; only MySQL and MariaDB are known'
        )
    if not parsed.host or not parsed.database:
        missing = 'server' if not parsed.host else 'database'
        raise ValueError(f'its URL names no {missing}')
    # old clouds have mysql:// or mysql+mysqldb://, whose driver is a
    # library in C that is not needed here
    return parsed.set(drivername='mysql+pymysql')


def masked(url: sqlalchemy.engine.URL) -> str:
    """Return a URL with its password masked."""
    return secrets.mask_url(url.render_as_string(hide_password=True))


def resolve(url: sqlalchemy.engine.URL, timeout: float) -> str | None:
    """Resolve the name of the URL's server, or know soon that it fails.

    connect_timeout begins after the name is resolved, and a resolver whose
    servers are dead takes half a minute: on a bad day they are.

    :returns: why it failed, None when it is resolved
    """
    host = str(url.host)
    if _is_address(host):
        return None
    problems: list[str] = []

    def ask() -> None:
        try:
            socket.getaddrinfo(host, url.port or 3306)
        except OSError as error:
            problems.append(error.strerror or 'no such name')

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        problems.append('no answer in time')
    if not problems:
        return None
    return f'the name of its server can not be resolved: {problems[0]}'


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
