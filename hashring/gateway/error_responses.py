"""Responses of the gateway itself: what is wrong, and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass


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
            500,
            "gateway_failed",
            "The gateway failed on this request.",
            "Give the operator the request ID: the log of the gateway has the reason.",
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
            405,
            "not_allowed",
            "This method ends here: the request may not be forwarded any further.",
            "Send it with a larger Max-Forwards, or without one.",
        ),
        ErrorResponse(
            508,
            "loop",
            "The request has passed this gateway before.",
            "One of the hosts leads back to the gateway. The operator finds it by the header Via.",
        ),
        ErrorResponse(
            503,
            "no_host",
            "No host can serve the request now.",
            "Try again in a moment. The operator finds the reasons at /state.",
        ),
        ErrorResponse(
            503,
            "session_unavailable",
            "The host of this session cannot serve now, and no other host may serve it.",
            "Try again in a moment. The operator finds the reason at /state.",
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


def error_fields(problem: ErrorResponse, kind: bytes, request_id: bytes) -> list[bytes]:
    """The headers of ``problem`` with a body of the content type ``kind``, as flat pieces."""
    fields = [b"content-type: ", kind, b"\r\n", b"cache-control: ", b"no-store", b"\r\n"]
    fields += (b"x-request-id: ", request_id, b"\r\n")
    if problem.status == 503:
        fields += (b"retry-after: ", b"1", b"\r\n")
    elif problem.status == 405:
        fields += (b"allow: ", b"GET, HEAD, POST, PUT, PATCH, DELETE", b"\r\n")
    return fields


def _wants_text(accept: str) -> bool:
    """Whether a client prefers text to JSON.

    >>> _wants_text("text/html, */*"), _wants_text("*/*"), _wants_text("application/json")
    (True, False, False)
    """
    return "text/" in accept and "json" not in accept


def error_body(
    problem: ErrorResponse, request_id: str, accept: str, host: str = "", fault: str = ""
) -> tuple[bytes, bytes]:
    """The content type and the body of ``problem``: JSON, or text if ``accept`` asks for it.

    ``host`` and ``fault`` name the host that was asked last and whose fault it is.
    """
    if _wants_text(accept):
        where = f"Host: {host}, fault of the {fault}\n" if host and fault else ""
        text = f"{problem.status} {problem.message}\n{problem.hint}\n{where}"
        return b"text/plain; charset=utf-8", f"{text}Request ID: {request_id}\n".encode()
    content: dict[str, object] = {
        "status": problem.status,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
        "request_id": request_id,
    }
    if host and fault:
        content |= {"host": host, "fault": fault}
    return b"application/json", json.dumps({"error": content}).encode() + b"\n"
