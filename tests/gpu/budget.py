"""Time that is given once and shared out: a command on a lent machine is cut off, so nothing begins that could not end."""
import time


class Budget:
    """`seconds` from now on. `clock` is a function that returns seconds."""

    def __init__(self, seconds, clock=time.monotonic):
        self._clock = clock
        self._end = clock() + seconds

    def left(self):
        return max(0.0, self._end - self._clock())

    def limit(self, wanted, least=1.0):
        """Seconds that something may take which wants `wanted` of them; None where under `least` are left."""
        left = self.left()
        return None if left < least else min(wanted, left)
