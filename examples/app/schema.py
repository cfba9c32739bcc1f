"""The tables of the reading room."""

from convexpy import define_schema, define_table, v

analysis = v.object(
    {
        "words": v.number(),
        "sentences": v.number(),
        "readingSeconds": v.number(),
        "language": v.string(),
        "frequent": v.array(v.object({"word": v.string(), "count": v.number()})),
    }
)

schema = define_schema(
    {
        # A document as it was handed in. Its workflow adds the rest; `analysis` and `timesIndexed` in its last step.
        "documents": define_table(
            {
                "title": v.string(),
                "text": v.string(),
                "workflow": v.optional(v.string()),
                "attempts": v.optional(v.number()),  # to get the mark
                "mark": v.optional(v.string()),  # where it stands
                "analysis": v.optional(analysis),
                "timesIndexed": v.number(),
            }
        ),
        # The index: one row for each significant word of a document.
        "postings": define_table({"word": v.string(), "document": v.id("documents"), "count": v.number()}).index(
            "by_word", ["word", "count"]
        ),
    }
)
