"""Tables of the app that is measured: validated, and one with an index of its own, as real ones are."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        "notes": define_table({"body": v.string(), "seconds": v.number()}).index("by_seconds", ["seconds"]),
        "published": define_table({"body": v.string()}),
        "counters": define_table({"name": v.string(), "value": v.number()}).index("by_name", ["name"]),
        "topics": define_table({"name": v.string(), "body": v.string()}).index("by_name", ["name"]),
    }
)
