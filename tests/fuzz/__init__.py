"""A protocol fuzzer: what official clients have said, bent out of shape, and messages that no client would say.

The server must answer or close, keep serving everybody else, log no traceback and keep no memory of it.
"""
