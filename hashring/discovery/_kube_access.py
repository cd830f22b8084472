"""How is a Kubernetes API reached?  By a pod's own account, a kubeconfig, or what it is given."""

from __future__ import annotations

import json
import os
import ssl
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hashring.discovery import _http
from hashring.discovery._url import SourceUrl, with_port
from hashring.errors import ConfigError, DiscoveryError, requires_extra

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts a pod's account: "Accessing the Kubernetes API from a Pod"."""

_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


@dataclass(frozen=True)
class Access:
    """The API's URL and who asks it; no text shows the token.

    ``token_file`` is read before each request: a pod's token is replaced while it is good for
    another fifth of its time.
    """

    url: str
    context: ssl.SSLContext | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    namespace: str = "default"

    def headers(self) -> dict[str, str]:
        """The headers that identify this client. Raises ``DiscoveryError`` for a missing file."""
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text().strip()
            except (OSError, ValueError) as error:
                text = f"the token of {self.url} cannot be read: {error}"
                raise DiscoveryError(text, source=self.url) from error
        return {} if token is None else {"Authorization": f"Bearer {token}"}


OPTIONS: Mapping[str, type] = MappingProxyType(
    {
        "kubeconfig": str,
        "context": str,
        "token": str,
        "token_file": str,
        "tls": bool,
        "ca": str,
        "cert": str,
        "key": str,
    }
)
"""What a source's URL may say of the access."""


def of_url(parts: SourceUrl, options: dict[str, Any]) -> Access:
    """The access that a URL and its options name; takes ``OPTIONS`` out of ``options``.

    Raises ``ConfigError`` for options that do not go together.
    """
    given = {name: options.pop(name) for name in OPTIONS if name in options}
    kubeconfig, context = given.pop("kubeconfig", None), given.pop("context", None)
    if not parts.endpoints:
        if given:
            raise ConfigError(
                f"{parts.shown}: {', '.join(given)} go with kubernetes://api:port/namespace/service",
                option=next(iter(given)),
            )
        if kubeconfig is None and context is None:
            return usual()
        return from_kubeconfig(kubeconfig or _usual_kubeconfig(os.environ), context)
    if kubeconfig or context or len(parts.endpoints) > 1:
        raise ConfigError(
            f"{parts.shown}: name one API, or a kubeconfig without one", option="source"
        )
    with_port(parts.endpoints[0], 443)  # refuses an invalid address
    file = Path(given["token_file"]) if "token_file" in given else None
    token = given.get("token")
    if not given.get("tls", True):
        return Access(f"http://{parts.endpoints[0]}", None, token, file)
    tls = _http.tls_context(given.get("ca"), given.get("cert"), given.get("key"))
    return Access(f"https://{parts.endpoints[0]}", tls, token, file)


def usual(environment: Mapping[str, str] = os.environ) -> Access:
    """In a pod its own account, elsewhere the kubeconfig that ``kubectl`` would read."""
    if environment.get(_HOST) and (ACCOUNT / "token").exists():
        return in_cluster(environment)
    return from_kubeconfig(_usual_kubeconfig(environment))


def _usual_kubeconfig(environment: Mapping[str, str]) -> Path:
    # of several files the first: to merge them is kubectl's own business
    named = environment.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def in_cluster(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Access:
    """The access that every pod has. Raises ``ConfigError`` outside one."""
    host, port = environment.get(_HOST), environment.get(_PORT, "443")
    if not host:
        raise ConfigError(
            f"this is not a pod of Kubernetes ({_HOST} is not set): give a kubeconfig",
            option="kubeconfig",
        )
    place = f"[{host}]" if ":" in host else host
    namespace = account / "namespace"
    return Access(
        f"https://{place}:{port}",
        _http.tls_context(ca=str(account / "ca.crt")),
        token_file=account / "token",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def from_kubeconfig(path: str | Path, context: str | None = None) -> Access:
    """The access of ``context`` in ``path`` (None: the current one): a token or a certificate.

    JSON is read as it is, YAML by PyYAML. Raises ``ConfigError``, also for an account that is a
    program to be run (``exec``), which this source does not run.
    """
    path = Path(path).expanduser()
    config = _read(path)
    try:
        chosen = _name_of(path, config, "context", context or config.get("current-context"))
        cluster = _name_of(path, config, "cluster", chosen.get("cluster"))
        user = _name_of(path, config, "user", chosen["user"]) if chosen.get("user") else {}
        for odd in sorted({"exec", "auth-provider", "username"} & set(user)):
            raise ConfigError(
                f"{path}: the user {chosen['user']!r} logs in by {odd!r}; this source knows "
                "token, tokenFile and client certificates",
                option="kubeconfig",
            )
        file = user.get("tokenFile")
        return Access(
            cluster["server"].rstrip("/"),
            _context(path, cluster, user),
            user.get("token"),
            None if file is None else path.parent / file,
            chosen.get("namespace") or "default",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a kubeconfig: {error!r}", option="kubeconfig") from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the kubeconfig {path} cannot be read: {error}", option="kubeconfig"
        ) from None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = _yaml(path, text)
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is not a kubeconfig", option="kubeconfig")
    return config


def _yaml(path: Path, text: str) -> Any:
    with requires_extra("kubernetes", "kubeconfig files in YAML", option="kubeconfig"):
        import yaml  # `kubectl config view --raw -o json` writes JSON, which needs no extra
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(
            f"{path} is neither JSON nor YAML: {error}", option="kubeconfig"
        ) from error


def _name_of(path: Path, config: Mapping[str, Any], kind: str, name: str | None) -> dict[str, Any]:
    for entry in config.get(f"{kind}s") or ():
        if entry["name"] == name:
            found: dict[str, Any] = entry.get(kind) or {}
            return found
    raise ConfigError(f"{path} has no {kind} {name!r}", option="kubeconfig")


def _context(
    path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]
) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https:"):
        return None
    with tempfile.TemporaryDirectory() as folder:  # ssl reads certificates from files only
        ca, cert, key = (
            _file(path, said, name, Path(folder))
            for said, name in (
                (cluster, "certificate-authority"),
                (user, "client-certificate"),
                (user, "client-key"),
            )
        )
        context = _http.tls_context(ca, cert, key)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _file(path: Path, said: Mapping[str, Any], name: str, folder: Path) -> str | None:
    """The file of a certificate that is either named or there in base64, which goes first."""
    if data := said.get(f"{name}-data"):
        file = folder / name  # the folder is this user's alone
        file.write_bytes(b64decode(data))
        return str(file)
    return str(path.parent / said[name]) if said.get(name) else None
