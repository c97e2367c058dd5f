"""Requests that no proxy stands between."""

from __future__ import annotations

import urllib.request

# Nothing that stands between two machines (http_proxy) belongs into a measurement.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
