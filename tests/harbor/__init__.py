"""Harbor's API as facts, a validator that every answer of a test goes through, and scenarios of Harbor's clients.

`facts` knows the operations, `schema` what an answer of each may be, `deviations` where ours differ and why.
"""
