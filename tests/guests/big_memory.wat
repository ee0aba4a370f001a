;; Begins with 128 MiB of memory, more than it may have.
(memory (export "memory") 2048)
