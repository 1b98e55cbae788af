"""What a GGUF file's own blocks tell of the quality of its weights, without the weights they were made from.

A block stores the step between neighbouring levels, and rounding is off by a known share of it (steps). The signal is
what the blocks say; so each tensor's signal-to-noise ratio can be estimated on its real weights. A file of floats has
the weights themselves: what other types would make of them is tried (floats).
"""
