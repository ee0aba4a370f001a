;; Told to, asks for all memory that 32 bits can name.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (drop (memory.grow (i32.const 65535)))))
  (call $ok))
