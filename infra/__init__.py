"""Deploying to AWS: templates, and the few steps that are code. None of it is in the Lambda package."""
