"""Roadstead, an OCI registry on S3, DynamoDB and Lambda.

Packages, from the rules inwards to the doors outwards; imports go this way only, and a test says so:

    oci       the OCI specifications as pure code
    policy    our own rules as pure code
    store     bytes and rows: the rules of consistency over S3
    config    settings, the only reader of the environment
    services  the composition root
    changes   what a change of content entails: rules, quota, index, audit log
    api       requests to responses: endpoints, tokens, dispatch
    jobs      background work
    server    the local server and the relay
    cli       the `roadstead` command
"""
