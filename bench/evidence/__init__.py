"""Evidence: what is measured once beside the cells of a run, if its plan asks for it."""
