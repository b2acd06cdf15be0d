"""The registry on a machine of one's own: HTTP around the same dispatch as the Lambda's, and the relay.

`http` sockets to requests and back, with streamed bodies · `downloads` bytes from S3 under the server's own address ·
`embedded` an S3 service in a folder · `log` access lines · `run` starts and stops all of it.
"""
