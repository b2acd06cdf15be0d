"""The collector's rules: what nothing needs, found by listings, and deleted while pushes go on (docs/decisions/019).

Invariants:
* Nothing is deleted that was written within the grace period, and nothing but on the condition that it is still what
  was seen. Whoever builds on something old writes it anew first (`store.blobs`, `store.manifests`).
* Memory does not grow with the registry: what is in use is remembered in filters, which may keep garbage by mistake
  and never lose what is in use (`seen`).
* Everything may be done twice, or be left at any point.
"""
