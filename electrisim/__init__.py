"""The backend between its two ends: bytes become a network, a study solves it, an answer leaves.

fields, elements     how records are declared; the catalogue of element kinds
network, topology    the frozen network; what is connected and supplied
settings, studies/   what is asked
engine               what an engine offers (the engines themselves are top-level modules)
results, completion, balance, certificate
                     what is answered, completed, summed and judged
wire/                the two spellings
web/                 the routes
"""

__version__ = "0.1.0"
