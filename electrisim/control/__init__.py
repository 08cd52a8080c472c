"""Controllers: what tap changers, stepped shunts, inverters and stations do by themselves.

fields       what an element must say for its controller to work
droops       the power of an inverter by its voltage
plan         the controllers of a network
sensitivity  what a small move of each changes everywhere
loop         moving them until all are content
"""
