"""Background work, one file a job: `plan` decides purely, `run` applies it, idempotent and resumable."""
