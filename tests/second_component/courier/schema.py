"""Parcels on their way."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        "parcels": define_table(
            {
                "to": v.string(),
                "text": v.string(),
                "state": v.literals("carried", "delivered", "lost"),
                "callback": v.optional(v.string()),
                "isFragile": v.optional(v.boolean()),
                "trouble": v.optional(v.string()),  # the last of the callback, and how often there was one
            }
        ).index("by_to", ["to"]),
        "looks": define_table({}),
    }
)
