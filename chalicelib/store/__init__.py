"""Bytes and rows: the rules of consistency over S3, and the only importers of boto3.

`layout` every key of the bucket · `objects` the seam to S3 · `signing` presigned URLs · `connections` kept-alive
HTTP, for reads · `client` boto3, for writes · `bucket` making and checking the bucket.

`content` what the following share · `blobs` who holds which blob · `manifests` manifests, tags, referrers ·
`sessions` the state of uploads · `uploads` blob uploads, resumable by any instance.
"""
