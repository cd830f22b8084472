"""HTTP/1.1 by httptools: our server's side and the hosts' side."""
