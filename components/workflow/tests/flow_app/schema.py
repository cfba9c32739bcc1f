"""What the steps leave behind, so that tests can see what happened and how often."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        "counters": define_table({"name": v.string(), "value": v.number()}).index("by_name", ["name"]),
        "ends": define_table({"run": v.string(), "result": v.any(), "context": v.any()}).index("by_run", ["run"]),
    }
)
