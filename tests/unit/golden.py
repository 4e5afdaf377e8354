# SPDX-License-Identifier: Apache-2.0

"""What an operator sees, as files that a person can read."""

from __future__ import annotations

import os
import pathlib

from tests.base import TestCase


def compare(test: TestCase, path: pathlib.Path, text: str) -> None:
    """Fail if the text isn't what the file has.

    With GOLDEN=write in the environment the file is written instead; look
    at the difference before you commit it.
    """
    if os.environ.get('GOLDEN') == 'write':
        path.write_text(text)
    test.assertEqual(path.read_text().splitlines(), text.splitlines())
