"""The registry's own rules as pure code: `access` says who may do what."""
