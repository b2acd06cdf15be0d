"""The OCI specifications as pure code: no I/O, no clock, no environment.

`errors` the error table · `names` repositories, tags, references · `digests` what names content ·
`manifests` media types, descriptors, validity · `uploads` session states, ranges, parts · `pages` n, last, Link.
"""
