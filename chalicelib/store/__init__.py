"""Bytes and rows: the rules of consistency over S3, and the only importers of boto3.

`layout` every key of the bucket · `objects` the seam to S3 · `client` boto3, for writes · `signing` presigned URLs ·
`content` what the following share · `blobs` who holds which blob · `manifests` manifests, tags, referrers ·
`uploads` blob uploads, resumable by any instance.
"""
