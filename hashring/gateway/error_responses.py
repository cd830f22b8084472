"""Responses of the gateway itself: what is wrong, and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hashring.gateway.asgi import Send


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """One kind of failure: ``status``, a code for machines, and two sentences for people."""

    status: int
    code: str
    message: str
    hint: str


class RequestRefused(Exception):  # noqa: N818  # a decision, not an error
    """The gateway answers this request itself, with ``problem``."""

    def __init__(self, problem: ErrorResponse) -> None:
        super().__init__(problem.code)
        self.problem = problem


_LATER = "Try again in a moment. If it persists, give the operator the request ID."

ERROR_RESPONSES = {
    problem.code: problem
    for problem in (
        ErrorResponse(
            400,
            "bad_request",
            "The request cannot be forwarded: its framing or its headers are ambiguous.",
            "Send one Content-Length or Transfer-Encoding: chunked, and headers in UTF-8.",
        ),
        ErrorResponse(
            408,
            "request_timeout",
            "The body of the request was not received in time.",
            "Send it without pauses, or in parts.",
        ),
        ErrorResponse(
            413,
            "body_too_large",
            "The body of the request is larger than this gateway allows.",
            "Send less. The operator sets the limit (limits.body).",
        ),
        ErrorResponse(
            502,
            "host_failed",
            "The host closed the connection before it responded.",
            "The request may have been processed: check before you send it again.",
        ),
        ErrorResponse(502, "host_unreachable", "The host could not be reached.", _LATER),
        ErrorResponse(
            502,
            "host_garbled",
            "The host's response was not valid HTTP.",
            "Give the operator the request ID: the log of the gateway names the host.",
        ),
        ErrorResponse(
            503,
            "no_host",
            "No host can serve the request now.",
            "Try again in a moment. The operator finds the reasons at /state.",
        ),
        ErrorResponse(
            503,
            "busy",
            "Every host that could serve the request has as many requests as it may have.",
            "Try again in a moment. The operator sets the limit (pool.max_in_flight).",
        ),
        ErrorResponse(
            504,
            "host_timeout",
            "The host took too long to respond.",
            "The request may have been processed: check before you send it again.",
        ),
    )
}


def _wants_text(accept: str) -> bool:
    """Whether a client prefers text to JSON.

    >>> _wants_text("text/html, */*"), _wants_text("*/*"), _wants_text("application/json")
    (True, False, False)
    """
    return "text/" in accept and "json" not in accept


async def send_error(
    send: Send, problem: ErrorResponse, request_id: str, accept: str, *, head: bool = False
) -> int:
    """Send ``problem`` as JSON, or as text if ``accept`` asks for it; the length of its body."""
    if _wants_text(accept):
        kind = b"text/plain; charset=utf-8"
        text = f"{problem.status} {problem.message}\n{problem.hint}\nRequest ID: {request_id}\n"
        body = text.encode()
    else:
        kind = b"application/json"
        content = {
            "error": {
                "status": problem.status,
                "code": problem.code,
                "message": problem.message,
                "hint": problem.hint,
                "request_id": request_id,
            }
        }
        body = json.dumps(content).encode() + b"\n"
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
    ]
    if problem.status == 503:
        headers.append((b"retry-after", b"1"))
    if problem.status in (400, 408, 413):
        headers.append((b"connection", b"close"))  # the rest of that body is not read
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
    return len(body)
