"""One local page and a REST interface: `hybridfit serve`.

    browser, GMS, curl  →  app (FastAPI)  →  queue on disk  →  lanes  →  worker processes
                                    ↑                                        ↓
                                    └──────────  session table  ←────────────┘

The process that talks to the network reads no frame and makes no fit. Two worker processes do: one for fits
and pictures, which stays warm, and one for maps and libraries, which is there when it is needed. A worker may
die at any moment, whatever killed it; its job is tried again, and the other jobs wait.
"""
