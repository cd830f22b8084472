"""What does the gateway say when it has no answer of a host?  What is wrong, and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hashring.gateway.asgi import Send

__all__ = ["PROBLEMS", "Problem", "Refused", "answer_problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of failure: ``status``, a word for machines, and two sentences for people."""

    status: int
    code: str
    message: str
    hint: str


class Refused(Exception):  # noqa: N818  # a decision about a request, carried to who answers it
    """This request is answered by the gateway itself, with ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


_LATER = "Try again in a moment; if it stays so, tell the operator the request ID."

PROBLEMS = {
    problem.code: problem
    for problem in (
        Problem(
            400,
            "bad_request",
            "The request cannot be forwarded: its framing or its headers are ambiguous.",
            "Send one Content-Length or Transfer-Encoding: chunked, and headers in UTF-8.",
        ),
        Problem(
            408,
            "request_timeout",
            "The body of the request stopped coming.",
            "Send it without pauses, or in parts.",
        ),
        Problem(
            413,
            "body_too_large",
            "The body of the request is larger than this gateway takes.",
            "Send less; the operator sets the limit (limits.body).",
        ),
        Problem(
            502,
            "host_failed",
            "The host closed the connection before it answered.",
            "The request may have been carried out: look before you send it again.",
        ),
        Problem(502, "host_unreachable", "The host could not be reached.", _LATER),
        Problem(
            502,
            "host_garbled",
            "The host answered with what is no HTTP.",
            "Tell the operator the request ID: the log of the gateway names the host.",
        ),
        Problem(
            503,
            "no_host",
            "No host can take the request now.",
            "Try again in a moment. The operator sees who is down, and why, at /state.",
        ),
        Problem(
            504,
            "host_timeout",
            "The host took too long to answer.",
            "The request may have been carried out: look before you send it again.",
        ),
    )
}


def _wants_text(accept: str) -> bool:
    """Whether a client would rather read text than JSON.

    >>> _wants_text("text/html, */*"), _wants_text("*/*"), _wants_text("application/json")
    (True, False, False)
    """
    return "text/" in accept and "json" not in accept


async def answer_problem(
    send: Send, problem: Problem, request_id: str, accept: str, *, head: bool = False
) -> int:
    """Send ``problem`` as JSON, or as text if ``accept`` asks for it; the length of its body."""
    if _wants_text(accept):
        kind = b"text/plain; charset=utf-8"
        text = f"{problem.status} {problem.message}\n{problem.hint}\nRequest ID: {request_id}\n"
        body = text.encode()
    else:
        kind = b"application/json"
        said = {
            "error": {
                "status": problem.status,
                "code": problem.code,
                "message": problem.message,
                "hint": problem.hint,
                "request_id": request_id,
            }
        }
        body = json.dumps(said).encode() + b"\n"
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
    ]
    if problem.status == 503:
        headers.append((b"retry-after", b"1"))
    if problem.status in (400, 408, 413):
        headers.append((b"connection", b"close"))  # the rest of that body is not wanted
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
    return len(body)
