"""The router inside other libraries: one file for each, imported by its full name.

``hashring.integrations.asgi`` keeps the sessions of an ASGI application on one host or on one
worker process. ``hashring.integrations.uhashring`` has the interface of uhashring, and
``hashring.integrations.pymemcache`` a hasher for its ``HashClient``.
"""
