"""The routes, and what every request and every answer passes on its way.

configuration   what the environment decides
edge            limits, origins, compression, headers, errors, the log
api             POST / answers a study; GET / says that somebody is there
health          /healthz and /readyz
documentation   /openapi.json and /docs
"""
