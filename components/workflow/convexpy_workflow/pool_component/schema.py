"""The workpool's table. What an item is called with lies in its scheduled function, not here."""

from __future__ import annotations

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        # One row an item that is not finished. Inserted by `work.enqueue`, patched when it is tried again or canceled,
        # deleted in the transaction that finishes it.
        "items": define_table(
            {
                "name": v.string(),  # path of the function, or what `name=` said
                "job": v.string(),  # the scheduled function of its current attempt
                "attempts": v.number(),  # failed ones so far
                "is_canceled": v.optional(v.boolean()),  # a failure is its last one then
                # {error, attempts, nextAt}: its `on_complete` fails, and is tried again
                "trouble": v.optional(v.any()),
            }
        ),
    }
)
