"""What rounding costs: weights in blocks of few bits, and sums in few bits; derived, and tried by simulation.

Errors are counted against exact arithmetic on the unrounded values. Relative RMS is rms(error) / rms(value), and

    SNR = −20 · log10(relative RMS)  [dB]
"""
