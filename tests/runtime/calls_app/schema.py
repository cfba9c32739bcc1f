"""One table that is checked, with an index; others come with their first document."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        "people": define_table({"name": v.string(), "age": v.optional(v.number()), "team": v.optional(v.string())})
        .index("by_name", ["name"])
        .index("by_team_age", ["team", "age"]),
        "teams": define_table({"title": v.string()}),
    }
)
