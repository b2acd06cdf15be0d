"""HTTP: requests in, responses out, the same for the Lambda and for the local server.

`http` the two dataclasses and the one place that renders errors · `dispatch` routes, authorises, handles ·
`auth` credentials to grants · `tokens` the token service · `registry` the endpoints of the specification ·
`lambda_event` API Gateway's events to requests and back.
"""
