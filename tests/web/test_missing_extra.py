"""Without the packages of ayar[web] the dashboard says what to install."""

import subprocess
import sys

import pytest

HIDE = """
import sys
for name in ("starlette", "uvicorn"):
    sys.modules[name] = None  # an import of it now fails as if it were not installed
from ayar.errors import MissingExtra
from ayar.web.app import app, serve
try:
    {call}(lambda: None)
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize(("call", "package"), [("app", "starlette"), ("serve", "uvicorn")])
def test_a_missing_package_is_named_with_the_way_to_get_it(call, package):
    done = subprocess.run([sys.executable, "-c", HIDE.format(call=call)], capture_output=True, text=True, check=True)

    assert done.stdout.startswith(package)
    assert "pip install 'ayar[web]'" in done.stdout
