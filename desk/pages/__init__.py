"""The pages, a module each: `routes`, and `navigation` where the head of every page leads there."""
