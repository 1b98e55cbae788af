CREATE TABLE IF NOT EXISTS llama_bench (
  build_commit TEXT,
  build_number INTEGER,
  n_prompt INTEGER
);

INSERT INTO llama_bench (build_commit, build_number, cpu_info, gpu_info, backends, model_filename, model_type, model_size, model_n_params, n_ubatch, n_threads, n_gpu_layers, flash_attn, n_prompt, n_gen, n_depth, test_time, avg_ns, stddev_ns, avg_ts, stddev_ts) VALUES ('8cf427ff', '5163', '', 'AMD Radeon RX 7900 XTX', 'ROCm', 'models/it''s (mine), q4.gguf', 'llama 8B Q4_K - Medium', '4912898304', '8030261248', '512', '8', '99', '1', '512', '0', '0', '2025-04-24T12:00:28Z', '200000000', '10', '2560.000000', '5.000000');
INSERT INTO llama_bench (build_commit, build_number) VALUES ('8cf427ff', '5163');
