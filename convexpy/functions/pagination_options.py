"""The validator of an argument `paginationOpts`: what hooks and clients send for a page."""

from __future__ import annotations

from convexpy.values import v

pagination_opts_validator = v.object(
    {
        "numItems": v.number(),
        "cursor": v.nullable(v.string()),
        "endCursor": v.optional(v.nullable(v.string())),
        "id": v.optional(v.number()),
        "maximumRowsRead": v.optional(v.number()),
        "maximumBytesRead": v.optional(v.number()),
    }
)
