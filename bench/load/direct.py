"""HTTP requests that bypass any proxy."""

from __future__ import annotations

import urllib.request

# A proxy (http_proxy) must not become part of a measurement.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
