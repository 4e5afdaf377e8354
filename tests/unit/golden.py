# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What an operator sees, as files that a person can read."""

from __future__ import annotations

import os
import pathlib

from tests import base


def compare(test: base.TestCase, path: pathlib.Path, text: str) -> None:
    """Fail if the text isn't what the file has.

    With GOLDEN=write in the environment the file is written instead; look
    at the difference before you commit it.
    """
    if os.environ.get('GOLDEN') == 'write':
        path.write_text(text)
    test.assertEqual(path.read_text().splitlines(), text.splitlines())
