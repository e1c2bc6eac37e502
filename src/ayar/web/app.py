"""A read-only server: the report page, live, and the same data as JSON. One short function per route.

It listens on this machine only. A request whose Host header names another machine is refused, so that a foreign
web page cannot reach it by pointing its own name here (DNS rebinding); no other origin may read what it answers.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ayar.errors import AyarError, extra
from ayar.reports import page, sentences, tables
from ayar.reports.tables import Story

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

ReadStory = Callable[[], Story]

_LOCAL_NAMES = ("localhost", "127.0.0.1")
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def app(read_story: ReadStory, *, hosts: tuple[str, ...] = _LOCAL_NAMES) -> Starlette:
    """The dashboard of one study.

    Args:
        read_story: Called for each request; what it returns is shown as it then stands.
        hosts: Names under which the server may be addressed; other requests are refused with status 400.

    Raises:
        MissingExtra: The packages of ``ayar[web]`` are not installed.
    """
    with extra("web"):
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Route
    return Starlette(
        routes=[
            Route("/", _with(read_story, _page)),
            Route("/api/study", _with(read_story, _study)),
            Route("/api/trials", _with(read_story, _trials)),
            Route("/api/trials/{number:int}", _with(read_story, _trial)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
    )


def serve(read_story: ReadStory, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve the dashboard until it is interrupted.

    Args:
        read_story: See ``app``.
        host: Where to listen. Any address but this machine's own shows the study to whoever can reach it there,
            under whatever name.
        port: Where to listen.

    Raises:
        MissingExtra: The packages of ``ayar[web]`` are not installed.
    """
    with extra("web"):
        import uvicorn
    hosts = _LOCAL_NAMES if host in _LOCAL_NAMES else ("*",)
    uvicorn.run(app(read_story, hosts=hosts), host=host, port=port, log_level="warning")


def check_port(port: int, host: str = "127.0.0.1") -> None:
    """Refuse a port that nobody could be served at.

    Raises:
        AyarError: Something else listens there, or this user may not.
    """
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError) as error:
        why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
        raise AyarError(
            f"Port {port} can't be used: {why}. Give another one: --port {8081 if port != 8081 else 8082}"
        ) from error


def version(story: Story) -> str:
    """A text that changes whenever the page would change."""
    state = [(trial.id, trial.state, trial.target_step, trial.curve.last_step) for trial in story.trials]
    told = repr((state, story.winner, len(story.notes), len(story.advice)))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _page(story: Story) -> Response:
    from starlette.responses import HTMLResponse

    policy = f"{page.policy(live=True)}; frame-ancestors 'none'"
    return HTMLResponse(
        page.render(story, live=version(story)), headers={**_HEADERS, "Content-Security-Policy": policy}
    )


def _study(story: Story) -> Response:
    return _json(
        {
            "version": version(story),
            "name": story.name,
            "metric": story.metric,
            "maximize": story.maximize,
            "horizon": story.horizon,
            "summary": sentences.summary(story),
            "states": {state.value: count for state, count in story.states.items()},
            "winner": tables.winner_row(story),
            "advice": sentences.next_moves(story),
        }
    )


def _trials(story: Story) -> Response:
    return _json(tables.trial_rows(story))


def _trial(story: Story, number: int) -> Response:
    row = next((row for row in tables.trial_rows(story) if row["trial"] == number), None)
    if row is None:
        return _json({"error": f"This study has no trial {number}."}, status=404)
    return _json({**row, **tables.trial_details(story, number)})


def _with(read_story: ReadStory, answer: Callable[..., Response]) -> Callable[[Request], Awaitable[Response]]:
    """A route that reads the story in a thread, so that one slow reader does not hold up the others."""

    async def route(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        return await run_in_threadpool(lambda: answer(read_story(), **request.path_params))

    return route


def _json(body: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(body, status_code=status, headers=_HEADERS)
