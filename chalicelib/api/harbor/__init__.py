"""Harbor's REST API v2.0 over our directory, index and content: one module for each kind of resource.

`endpoints` is the table of what is built, `unbuilt` that of what is not, `calls` what a handler gets, `routing` the
way from a request to a handler, `listing` how lists are asked for and answered, `errors` how refusals are worded.
"""
