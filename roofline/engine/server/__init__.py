"""Measure a running server over HTTP: llama-server, llamafile, or anything with OpenAI's API."""

from roofline.engine.server.facts import ServerFacts
from roofline.engine.server.results import Measured, ServerRun
from roofline.engine.server.session import measure_server

__all__ = ["Measured", "ServerFacts", "ServerRun", "measure_server"]
