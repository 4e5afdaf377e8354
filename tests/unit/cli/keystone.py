# SPDX-License-Identifier: Apache-2.0

"""A Keystone of one user, for what needs no more than a token."""

from __future__ import annotations

from http import server
import json
import threading
from typing import Any

import fixtures

PASSWORD = 'right'


class Keystone(fixtures.Fixture):
    """Listens on loopback.

    :ivar environment: OS_* variables with which a client can log in
    :ivar logins: how many tokens it has given
    """

    def _setUp(self) -> None:
        self.logins = 0
        listener = server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
        listener.keystone = self  # type: ignore[attr-defined]
        self.addCleanup(listener.server_close)
        self.addCleanup(listener.shutdown)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{listener.server_port}/v3'
        self.environment = {
            'OS_AUTH_URL': self.url,
            'OS_USERNAME': 'admin',
            'OS_PASSWORD': PASSWORD,
            'OS_PROJECT_NAME': 'admin',
            'OS_USER_DOMAIN_NAME': 'Default',
            'OS_PROJECT_DOMAIN_NAME': 'Default',
        }

    def token(self) -> dict[str, Any]:
        """Return the body of a token."""
        default = {'id': 'default', 'name': 'Default'}
        return {
            'token': {
                'methods': ['password'],
                'user': {'id': 'u1', 'name': 'admin', 'domain': default},
                'project': {'id': 'p1', 'name': 'admin', 'domain': default},
                'roles': [{'id': 'r1', 'name': 'admin'}],
                'issued_at': '2026-01-01T00:00:00.000000Z',
                'expires_at': '2126-01-01T00:00:00.000000Z',
                'catalog': [],
            }
        }


class _Handler(server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = self.server.keystone.url  # type: ignore[attr-defined]
        self._answer(
            200,
            {
                'version': {
                    'id': 'v3.14',
                    'status': 'stable',
                    'links': [{'rel': 'self', 'href': url}],
                }
            },
        )

    def do_POST(self) -> None:
        size = int(self.headers['Content-Length'])
        asked = json.loads(self.rfile.read(size))['auth']['identity']
        if asked['password']['user']['password'] != PASSWORD:
            self._answer(
                401,
                {
                    'error': {
                        'code': 401,
                        'message': 'The password is wrong.',
                        'title': 'Unauthorized',
                    }
                },
            )
            return
        keystone = self.server.keystone  # type: ignore[attr-defined]
        keystone.logins += 1
        self._answer(201, keystone.token(), {'X-Subject-Token': 'a-token'})

    def _answer(
        self, code: int, body: Any, headers: dict[str, str] | None = None
    ) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(encoded)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""
