;; Told to, fails with a megabyte of text.
(memory (export "memory") 32)
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (memory.fill (i32.const 65536) (i32.const 0x61) (i32.const 1048576))
      (return (call $fail (i32.const 65536)))))
  (call $ok))
