from __future__ import annotations

import pytest

from hashring import ConfigError
from hashring.discovery import source


@pytest.mark.parametrize("place", ["h:abc", "h:0", "h:99999", "h:" + "9" * 5000, "::1", ":80"])
@pytest.mark.parametrize("form", ["etcd://{}/p", "consul://{}/web", "kubernetes://{}/shop/web"])
def test_an_invalid_endpoint_is_refused_before_a_request(form: str, place: str) -> None:
    with pytest.raises(ConfigError, match="an endpoint must be ADDRESS"):
        source(form.format(place))
