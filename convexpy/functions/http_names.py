"""Starlette's own classes that HTTP actions take and return, for the public module."""

from starlette.requests import Request as Request
from starlette.responses import Response as Response
from starlette.responses import StreamingResponse as StreamingResponse
