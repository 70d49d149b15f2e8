"""The classifier inside other people's tools; each module needs the extra that is named after it."""
