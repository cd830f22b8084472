"""HTTP/1.1 by httptools: ``client.py`` sends requests on the connections of ``connections.py``."""
