"""A PostgreSQL server of one's own, for as long as tests need it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def programs() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` lie."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    found = shutil.which("pg_ctl") or (debian[-1] if debian else None)
    return None if found is None else Path(found).parent


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def server(*settings: str) -> Iterator[str]:
    """The URL of a fresh server on a free port of this machine; skips where PostgreSQL is not installed."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    # initdb refuses to run as root; and its user must reach the folder, which pytest's own does not let it.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ayar-pg-"))
    if user:
        shutil.chown(folder, user)

    def run(*words: object) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*map(str, words)], user=user, check=True, cwd=folder, **quiet)

    options = " ".join(f"-c {each}" for each in ("fsync=off", "max_connections=200", *settings))
    try:
        run(bin_ / "initdb", "-D", folder / "data", "-U", "ayar", "--auth=trust", "--no-sync", "-E", "UTF8")
        for attempt in range(5):
            port = free_port()
            start = f"-p {port} -k {folder} -h 127.0.0.1 {options}"
            try:
                run(bin_ / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", start, "start")
                break
            except subprocess.CalledProcessError:  # somebody was quicker to take that port
                if attempt == 4:
                    raise AssertionError((folder / "log").read_text()) from None
        try:
            yield f"postgresql+psycopg://ayar@127.0.0.1:{port}/postgres"
        finally:
            run(bin_ / "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
