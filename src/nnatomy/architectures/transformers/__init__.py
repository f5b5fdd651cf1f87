"""Networks of attention: every place of a sequence looks at others, in one step."""
