"""Answers lines of `[function, returns, options]` with empyrical's result; run by `.venv-peers-of-tests`."""

import json
import sys
import warnings

import empyrical
import numpy as np


def main() -> None:
    warnings.simplefilter("ignore")  # of divisions by zero, which give the infinite results we compare with
    for line in sys.stdin:
        function, returns, options = json.loads(line)
        print(json.dumps(float(getattr(empyrical, function)(np.array(returns), **options))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
