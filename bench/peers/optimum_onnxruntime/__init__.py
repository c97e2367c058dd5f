"""TODO bench/peers/optimum_onnxruntime."""
