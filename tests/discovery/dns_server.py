"""A real DNS server on loopback, over UDP: the records that a test gives it, with their TTL."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.servers import Server


class DnsServer(Server):
    """``with DnsServer() as server``: answers from ``records``, (name, type) -> texts.

    ``rcode`` is answered to everything while it is not None; ``asked`` counts the questions.
    """

    def __init__(self, ttl: int = 0) -> None:
        self.ttl = ttl
        self.records: Mapping[tuple[str, str], tuple[str, ...]] = {}
        self.rcode: dns.rcode.Rcode | None = None
        self.asked = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.endpoint = f"127.0.0.1:{self.port}"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Answer from now on."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, args=(bound,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Its port is closed: questions are refused by the system."""
        if self._thread is not None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", ("127.0.0.1", self.port))  # no question is empty
            self._thread.join()
            self._thread = None

    def _serve(self, bound: socket.socket) -> None:
        with bound:
            while True:
                wire, where = bound.recvfrom(4096)
                if not wire:
                    return
                self.asked += 1
                bound.sendto(self._answer(dns.message.from_wire(wire)).to_wire(), where)

    def _answer(self, asked: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA | dns.flags.AA
        if self.rcode is not None:
            answer.set_rcode(self.rcode)
            return answer
        question = asked.question[0]
        name, kind = question.name.to_text().rstrip("."), dns.rdatatype.to_text(question.rdtype)
        records = self.records
        if texts := records.get((name, kind)):
            answer.answer = [dns.rrset.from_text(question.name, self.ttl, "IN", kind, *texts)]
        elif not any(known == name for known, _ in records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
