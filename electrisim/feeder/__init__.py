"""A public test feeder with a memory: modifications in, the solved feeder out.

tables          the feeders' facts, read once
model           what an engine is asked and answers (the engine is `opendss_feeder`)
state, modifications, fold
                what can be done to a feeder, and from a log of that to its state
judge, results  whether a solution is accepted, and how it is told
refusals        what is refused, with which status
"""
